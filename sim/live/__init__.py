"""`cinder-cache watch`: figures of a running cloud's caches for Prometheus, read from Cinder's database.

statements.py  the queries, each by an index that Cinder makes
reader.py      reads what is new, and adds it to what is known
state.py       what is known: counters, and the caches as they are now
settings.py    limits out of cinder.conf, and what differs from a plan
exposition.py  all of it as metrics
service.py     the loop and the port
again.py       asks the planner from time to time whether other limits would be much better
"""
