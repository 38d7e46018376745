"""Documents: opened in a worker process, prepared, cut into parts, checked and exported.

`host.DocumentHost` is the way in; nothing else here opens a foreign file in the caller's process.
"""
