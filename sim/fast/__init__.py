"""Engine `fast`: the same model and the same decisions as engine `cinder`, compiled by Numba.

It repeats the rules of Cinder 27 to 29; each function names the code of Cinder that it repeats. Where the
two engines differ, engine `cinder` is right (`cinder-cache verify` compares them on a scenario).

    state.py      what a run's state is: named arrays of records
    jit.py        compilation, and the state as compiled code gets it; interpreted.py: as plain Python does
    keeping.py    compiled code on disk
    build.py      a case as such a state
    rules.py      the rules of sim/model/rules.py, compiled
    arrays.py     space, places and clones (as sim/model/arrays.py); usage.py keeps the accounts of them
    events.py     the clock, waiting, Cinder's reading of the time
    cache.py      the image-volume cache, with its eviction policies, and locations in the Cinder store
    scheduler.py  filter and weighers over what backends reported; reports.py has that
    create.py     one create, phase by phase; cloning.py and download.py have where its data come from
    upload.py     one upload, phase by phase
    phases.py     the phases of a create
    fill.py       image-volumes made of users' volumes
    deletes.py    deletes; places.py has the places that image-volumes give back
    kernel.py     the trace and the main loop
    engine.py     runs it and makes the tables; errors.py has the words of errors
    tally.py      counts creates for measures without tables; occupied.py finds what volumes took
    replay.py     the cache alone, without time: hit-rate curves; stack.py finds those of all limits at once
"""
