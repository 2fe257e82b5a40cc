"""What binds where a goal is missed: looked into by people, and shown beside each row that misses its goal.

By a row's key. Who measures anew looks whether it still holds.
"""

_SCAN = (
    "Processor time binds: of two cores nine tenths are used from beginning to end. Half of it are the processes that "
    "walk, 1.7 us a file, most of which is the kernel's for `statx`; left to themselves on two cores they are done in "
    "0.83 times what `du` takes. A third is the survey's thread, 0.1 ms a folder: what the kernel needs to list it for "
    "leases is a quarter of that (83 entries that are in none of the processor's caches), `inotify_add_watch` a tenth, "
    "the rest Python between the calls. A tenth are the first rows of the history."
)
_EVICTION = (
    "Each folder costs a fixed sum that has nothing to do with its size: on a tmpfs 0.52 ms, where `rm -rf` takes 0.07 "
    "ms for one of 20 small files. 0.48 ms is processor time of the thread that evicts. A profile of that has 19 % in "
    "the deletion itself (`unlink` of the files: 11 %), 13 % in taking the folder off the watch and the census, 12 % "
    "in the two looks for leases, 12 % in the line of the log, 5 % in measuring what came back, 4 % in metrics, and "
    "most of the rest in the other checks of the protocol: two renames and eleven `stat`s. The history's thread takes "
    "0.08 ms beside it. Where a folder is larger the sum counts for less: see the deletion alone."
)

FINDINGS = {
    "scan": _SCAN,
    "scan-one-core": "As with two cores.",
    "eviction-tmpfs": _EVICTION,
    "eviction-disk": "As on a tmpfs: half a millisecond of checks and notes a folder, beside 1.3 ms for its files.",
    "growth-memory": (
        "In proportion to the folders it would be 11; the spreads of the two figures alone make half of one. How much "
        "of the rest is room that tables keep ahead was not looked into."
    ),
    "plan-all": (
        "Each folder that goes is described and gets a step of its own, 8 us of processor time a folder; a "
        "profile has a bit more than half of that in `Folder.candidate` (what is known of it, and all that could "
        "keep it), the rest in the planner's walk. At the default thresholds the walk ends where enough is found."
    ),
    "growth-plan-all": "As for the plan itself: what goes is described, one by one.",
    "rest-beside-du": (
        "`du` takes about a second of processor time for a million files here, as all it asks for is in the "
        "kernel's caches; a hundredth of that is 0.017 % of a core. With 10,000 folders three fifths of what the "
        "sidecar takes are its reconcile (a `stat` of each folder, once a minute), a quarter is to look at free "
        "space about once a second (`fstatfs`, and what is made of it), and a tenth its main thread, which turns "
        "once a second."
    ),
}
