"""The only package that knows every concrete class: each role's objects are put together in a module of its name, and nowhere else.

A role is a process: `python -m steelyard.assembly ROLE`, its orders one line of JSON on standard input. When standard
input ends, the supervisor is gone and the process goes too, at once, so that the port is free for a new start.
"""
