"""One model call, start to settlement: match, admit, decode, resolve, call, relay, settle.

Knows no storage, no HTTP framework and no other service; what it needs of them are the ports in `ports.py`.
"""
