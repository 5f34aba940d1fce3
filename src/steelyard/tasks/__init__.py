"""The durable task queue: submit, claim, heartbeat, finish, retry, cancel, and the runners of each kind of work."""
