"""The questions that operators ask, each with the query that answers it: a chapter of `docs/metrics.md`.

Nothing here is exported or evaluated; a test puts every query to a real Prometheus after a real run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        text: As one asks it.
        query: The answer, in PromQL; right for many sidecars at once, whatever their roots are called.
        note: How to read it.
        empty_when_healthy: Whether it gives series only where something is wrong.
    """

    text: str
    query: str
    note: str = ""
    empty_when_healthy: bool = False


# Which filesystem a root lies on; a root's figure times this is that figure, with the label `filesystem`.
_THERE = "* on (job, instance, root) group_left (filesystem) gcsidecar_filesystem_info"


def _of_state(state: str) -> str:
    return f'sum without (root) (gcsidecar_root_size_bytes{{state="{state}"}} {_THERE})'


def _by_filesystem(counter: str) -> str:
    return f"sum without (root) (increase({counter}[1h]) {_THERE})"


def _wrong(text: str, query: str, note: str = "") -> Question:
    return Question(text, query, note, empty_when_healthy=True)


QUESTIONS: dict[str, tuple[Question, ...]] = {
    "How full is it, how fast does it fill, when is it to be collected?": (
        Question(
            "How full is each filesystem?",
            "1 - gcsidecar_filesystem_disk_free_bytes / gcsidecar_filesystem_disk_capacity_bytes",
            "As `df` shows it to an ordinary user.",
        ),
        Question(
            "How near is eviction?",
            "gcsidecar_filesystem_pressure_ratio",
            "1 is exactly at the trigger, for each resource.",
        ),
        Question("How near is each root to its own cap?", "gcsidecar_root_cap_pressure_ratio"),
        Question("How fast does it fill?", "gcsidecar_filesystem_disk_fill_bytes_per_second"),
        Question(
            "When will it cross the trigger?",
            "gcsidecar_filesystem_time_to_trigger_seconds",
            "+Inf while nothing fills, 0 where eviction is under way; for a root's cap it is "
            "`gcsidecar_root_cap_time_to_trigger_seconds`.",
        ),
    ),
    "Who owns the disk?": (
        Question("How much could be reclaimed now?", _of_state("idle")),
        Question("How much is leased?", _of_state("leased")),
        Question("How much is pinned?", _of_state("pinned")),
        Question("How much is young?", _of_state("young"), "It may go once it is older than `min_age`."),
        Question(
            "How much is foreign?",
            "gcsidecar_filesystem_foreign_bytes",
            "In no root of this sidecar. While `gcsidecar_root_unmeasured_folders` is above 0 it shows too much.",
        ),
        Question("Which folders are the largest?", "topk(10, gcsidecar_folder_size_bytes)"),
        _wrong(
            "Where would evicting all that may go not be enough?",
            f"gcsidecar_filesystem_disk_deficit_bytes > "
            f'sum without (root, state) (gcsidecar_root_size_bytes{{state="idle"}} {_THERE})',
            "What is leased, pinned, young or foreign is too much: the disk is too small for it.",
        ),
    ),
    "Why were folders kept?": (
        Question(
            "Why were folders kept?",
            "increase(gcsidecar_kept_total[1h]) > 0",
            "Each time that a collection came by one counts. The log lines `planned` and `nothing-to-evict` have every "
            "reason by itself.",
        ),
        Question("How many may not go now?", 'gcsidecar_root_folders{state!="idle"}'),
    ),
    "What did evictions cost, and what did they bring?": (
        Question("How many were there, and for what?", "increase(gcsidecar_evictions_total[1h]) > 0"),
        Question(
            "What did each cost?",
            "increase(gcsidecar_eviction_duration_seconds_sum[1h]) "
            "/ increase(gcsidecar_eviction_duration_seconds_count[1h])",
            "Seconds; NaN where there was none.",
        ),
        Question(
            "What did each bring?",
            "increase(gcsidecar_eviction_reclaimed_bytes_total[1h]) "
            "/ sum without (reason) (increase(gcsidecar_evictions_total[1h]))",
            "Bytes, at once; NaN where there was none.",
        ),
        Question(
            "Did they bring what they should?",
            f"({_by_filesystem('gcsidecar_eviction_reclaimed_bytes_total')} "
            "+ increase(gcsidecar_eviction_reclaimed_late_bytes_total[1h])) "
            f"/ {_by_filesystem('gcsidecar_eviction_expected_bytes_total')}",
            "1 is all of it, what came late included. It is more where folders were of unknown size, and less where "
            "others write meanwhile: those evictions are in `gcsidecar_evictions_clamped_total`.",
        ),
        _wrong(
            "Where do they bring so little that eviction holds back?",
            "gcsidecar_filesystem_paused == 1",
            "Open files, snapshots or reflinks keep what was deleted.",
        ),
        Question(
            "How old was what went?",
            "histogram_quantile(0.5, rate(gcsidecar_eviction_idle_seconds_bucket[1d]))",
            "The median of the seconds since its last use; NaN where nothing went.",
        ),
        Question(
            "How is that spread?",
            "sum by (job, instance, le) (increase(gcsidecar_eviction_idle_seconds_bucket[1h]))",
            "For a heatmap.",
        ),
        Question(
            "Did anyone want it back?",
            "increase(gcsidecar_regrets_total[1d])",
            "Folders that came back within `regret_window`.",
        ),
        Question(
            "By how much is the cache too small?",
            "increase(gcsidecar_regretted_bytes_total[1d])",
            "A cache larger by as much would have had them still.",
        ),
    ),
    "Which leases are old?": (
        Question(
            "How old is the oldest?",
            "time() - gcsidecar_oldest_lease_timestamp_seconds",
            "Seconds since it was touched; no lease's name is a label.",
        ),
        _wrong(
            "Where are stale ones?",
            'gcsidecar_leases{state="stale"} > 0',
            "No lock and no heartbeat vouches for them, and they are old; they hold all the same.",
        ),
        _wrong(
            "Where can't dead ones be removed?",
            'gcsidecar_leases{state="dead"} > 0',
            "They hold nothing; the sidecar lacks the rights, or may not act there.",
        ),
        _wrong(
            "Which holders ended without releasing theirs?",
            "increase(gcsidecar_leases_reaped_total[1h]) > 0",
            "The log names each.",
        ),
        _wrong(
            "Where is a folder parked?",
            "gcsidecar_root_parked_folders > 0",
            "It was leased on its way out, and its name was taken; it lies in `.gcsidecar/evicting/`.",
        ),
    ),
    "Can a cap be met?": (
        _wrong(
            "Which can't?",
            "gcsidecar_root_cap_unmeetable == 1",
            "What is leased, pinned or young takes more than the cap by itself.",
        ),
        Question(
            "How much of a root's budget can't go?",
            'sum without (state) (gcsidecar_root_size_bytes{state!="idle"}) / gcsidecar_root_max_size_bytes',
        ),
    ),
    "Is the sidecar itself healthy?": (
        Question(
            "How old is what it knows?",
            "time() - gcsidecar_filesystem_last_measurement_timestamp_seconds",
            "At most 5 s, and the scrape interval.",
        ),
        Question(
            "How old is the oldest size?",
            "time() - gcsidecar_filesystem_oldest_size_timestamp_seconds",
            "A day and some hours at most, unless `measure.stale_after` says otherwise. Each folder is looked at "
            "before it goes, however old its size is.",
        ),
        Question("What share of the folders was never measured?", "gcsidecar_filesystem_unmeasured_ratio"),
        _wrong("What can't it measure?", "gcsidecar_filesystem_last_measurement_successful == 0"),
        _wrong("What can't it list?", "gcsidecar_root_last_reconcile_successful == 0"),
        _wrong(
            "What can't it watch?",
            "gcsidecar_watch_refused_directories > 0",
            "It sees changes there later: raise fs.inotify.max_user_watches.",
        ),
        _wrong("Does eviction fail?", "increase(gcsidecar_eviction_failures_total[1h]) > 0"),
        _wrong(
            "Is there something it can't delete?",
            "min_over_time(gcsidecar_root_condemned_folders[1h]) > 0",
            "The log says what.",
        ),
        _wrong("Was its config refused?", "gcsidecar_config_last_reload_successful == 0"),
        _wrong(
            "Where doesn't it act?",
            'gcsidecar_root_role{role!="active"} == 1',
            "`standby`: another sidecar acts on that root.",
        ),
        _wrong("Where is nothing recorded?", "gcsidecar_root_history_healthy == 0", "Evictions go on all the same."),
        Question("How often was it started?", "changes(process_start_time_seconds[1h])"),
        Question("What does it take?", "process_resident_memory_bytes", "CPU: `rate(process_cpu_seconds_total[5m])`."),
        Question(
            "Does work wait for the disk?",
            'rate(gcsidecar_psi_waiting_seconds_total{resource="io"}[5m])',
            "The share of time in which some task did; absent where the kernel doesn't count it.",
        ),
    ),
}
