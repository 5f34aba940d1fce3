"""The only package that knows every concrete class: each role's objects are put together in a module of its name, and nowhere else.

A role is a process, forked from the fork server or `python -m steelyard.assembly ROLE` by itself; its orders are one line of
JSON on standard input. When standard input ends, the supervisor is gone and the process goes too, at once, so that the port is free for a new start.
"""
