"""What binds where a goal is missed: looked into by people, and shown beside each row that misses its goal.

By a row's key. Who measures anew looks whether it still holds.
"""

FINDINGS = {
    "plan-all": (
        "Each folder that goes is described and gets a step of its own, 5.6 us of processor time a folder; a "
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
