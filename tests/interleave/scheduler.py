"""One run: actors in threads of which a single one goes on at a time, from one system call to the next.

Who has the next turn, and who is killed in place of it, a director says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from interleave.actor import PATIENCE_SECONDS, taken
from interleave.picture import Picture, picture_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from concurrent.futures import Executor

    from interleave.actor import Actor


class Choice(NamedTuple):
    """Who is next, whether that is its end, and what it was about to do."""

    actor: str
    kill: bool
    call: str

    def __str__(self) -> str:
        return f"{self.actor:>9}: {'killed before ' if self.kill else ''}{self.call}"


class Director(Protocol):
    """Says how a run goes on."""

    def choose(self, run: Run, choices: Sequence[Choice]) -> Choice | None:
        """One of the choices; none to leave the run."""


class Run:
    """One run of some actors on a directory of its own.

    Args:
        root: The root, made.
        actors: All of them.
        director: Who says how it goes on.
        labels: What the files and directories that are there are called, by inode number.
        whole: What belongs into a folder, by its label.
        threads: One for each actor at least.

    Attributes:
        version: Counts whatever was changed.
        was_seen: Whether another run has been in this state.
        failure: What went wrong.
    """

    def __init__(
        self,
        root: str,
        actors: Sequence[Actor],
        director: Director,
        labels: dict[int, str],
        whole: dict[Hashable, frozenset[str]],
        threads: Executor,
    ) -> None:
        self.root = root
        self.actors = actors
        self.labels = labels
        self.whole = whole
        self.threads = threads
        self.version = 0
        self.is_left = self.was_seen = False
        self.failure: str | None = None
        self._director = director
        self._starting = True
        self._over = taken()
        self._picture: tuple[int, Picture] | None = None

    def play(self) -> bool:
        """Run it; False where it was left before its end."""
        for actor in self.actors:
            actor.enter(self)
            self._over.acquire()
        self._starting = False
        self._pass_on(self._next())
        if not self._over.acquire(timeout=2 * PATIENCE_SECONDS):
            raise TimeoutError(f"nobody went on: {[(actor.name, actor.call) for actor in self.actors]}")
        finished = not self.is_left
        self._leave()
        return finished

    def hand_over(self, actor: Actor) -> None:
        """Let whoever is next go on, and wait for the own turn."""
        if self._starting:
            self._over.release()
        else:
            chosen = self._next()
            if chosen is actor:
                return
            self._pass_on(chosen)
        actor.wait()

    def ended(self) -> None:
        """One is through."""
        if self.is_left or self._starting:
            self._over.release()
        else:
            self._pass_on(self._next())

    def fail(self, what: str) -> None:
        """The run has shown something that must not be."""
        if self.failure is None and not self.is_left:
            self.failure = what

    def picture(self) -> Picture:
        """What is on the disk now."""
        if self._picture is None or self._picture[0] != self.version:
            self._picture = self.version, picture_of(self.root, self.labels)
        return self._picture[1]

    def state(self) -> Hashable:
        """All that decides how it may go on."""
        return self.picture(), tuple(actor.state() for actor in self.actors), frozenset(self.whole.items())

    def _next(self) -> Actor | None:
        living = [actor for actor in self.actors if not actor.has_ended]
        ready = [actor for actor in living if actor.can_go]
        if living and not ready:
            self.fail(f"nobody can go on: {[actor.call for actor in living]}")
        # What nobody else can see happens at once: its order among what others do makes no difference.
        apart = next((a for a in ready if a.calls.is_apart(o.calls for o in living if o is not a)), None)
        if apart is not None:
            ready = living = [apart]
        choices = [Choice(actor.name, kill=False, call=actor.call) for actor in ready]
        choices += [Choice(actor.name, kill=True, call=actor.call) for actor in living if actor.kills]
        choice = self._director.choose(self, choices)
        if choice is None:
            self.is_left = bool(living)
            return None
        chosen = next(actor for actor in living if actor.name == choice.actor)
        if choice.kill:
            chosen.kills -= 1
            chosen.is_dead = True
        return chosen

    def _pass_on(self, chosen: Actor | None) -> None:
        if chosen is None:
            self._over.release()
        else:
            chosen.wake()

    def _leave(self) -> None:
        """End all that is still waiting."""
        self.is_left = True
        for actor in self.actors:
            if not actor.has_ended:
                actor.is_dead = True
                actor.wake()
                self._over.acquire()
        for actor in self.actors:
            actor.life.result()
