"""The desk in the terminal: a process of its own, attached to a run's block by its name.

It reads the run's state and writes the controls there, as everybody does, so that it can stall or
die and the sound goes on. What only the run's process can do it asks for through a socket (see
`link.py`); the run's side of it all is `process.py`, the only file here that a run imports.
"""
