"""How a task that waits for a message goes on: at once, and past asyncio where the task is ours.

Theory of operation. A task that waits for a message gets a Waiter instead of a Future. When a read has put messages
into the socket's queue, the waiter steps the task at once, from within the read: one turn of the loop earlier than a
Future, and everything that the task then sends leaves in the read's one write. That is safe when no other task is
running, which is so in a transport's callback; anywhere else the waiter does as a Future does.

A server's handler is run by a task whose coroutine is a Stepper. As long as the handler waits for nothing but messages,
its task waits for one thing, the stepper, and the waiters step the handler themselves, as its task (asyncio's
documentation, "Extending", "Task lifetime support"). Whatever else the handler does - wait for something else, return,
raise - the stepper passes on to the task, which is woken for it.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, InvalidStateError, Task, current_task
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from .. import native


class Waiter:
    """The part of asyncio.Future that a task needs in order to wait: without a result, and for one task."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancel_message",
        "_cancelled",
        "_context",
        "_done",
        "_loop",
        "_stepper",
    )

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = True
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._stepper: Stepper | None = None  # who waits in the place of a task
        self._done = False
        self._cancelled = False
        self._cancel_message: Any = None

    def wake(self) -> None:
        """Let the task go on: at once if no task is running."""
        if self._done:
            return
        self._done = True
        stepper = self._stepper
        if stepper is not None:
            self._stepper = None
            stepper.go_on()
            return
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is None:
            return
        if context is None or current_task(self._loop) is not None:
            self._loop.call_soon(callback, self, context=context)
        else:
            try:
                context.run(callback, self)
            except BaseException as error:  # sys.exit() in the task: it is to end the loop, and not a read
                self._loop.call_soon(_raise, error)
        callback = None  # an exception of the task's has this frame, and the callback has the task

    def waiting(self) -> Any:
        """The task that waits; None if none does."""
        return getattr(self._callback, "__self__", None) if self._stepper is None else self._stepper._task

    def get_loop(self) -> AbstractEventLoop:
        """The loop of the waiting task."""
        return self._loop

    def done(self) -> bool:
        """Whether the wait is over."""
        return self._done

    def cancelled(self) -> bool:
        """Whether the wait was cancelled."""
        return self._cancelled

    def result(self) -> None:
        """None, or the end of a cancelled wait.

        Raises:
            CancelledError: the wait was cancelled.
            asyncio.InvalidStateError: the wait is not over.
        """
        if self._cancelled:
            raise CancelledError() if self._cancel_message is None else CancelledError(self._cancel_message)
        if not self._done:
            raise InvalidStateError("the wait is not over")

    def exception(self) -> None:
        """As result()."""
        self.result()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call back when the wait is over; a task does this once."""
        if self._done:
            self._loop.call_soon(callback, self, context=context)
        else:
            self._callback = callback
            self._context = context

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        """Take add_done_callback() back; returns how many callbacks that removed."""
        if self._callback is None or self._callback != callback:
            return 0
        self._callback = self._context = None
        return 1

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the wait; nothing but the wait changes. Returns False if it was over."""
        if self._done:
            return False
        self._done = True
        self._cancelled = True
        self._cancel_message = msg
        self._stepper = None
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is not None:
            self._loop.call_soon(callback, self, context=context)
        return True


class Stepper(Waiter):
    """The coroutine of a task, around another one, and what the task waits for while that one waits for messages.

    Args:
        loop: in which the task runs.
        coroutine: the other one.
    """

    __slots__ = ("_coroutine", "_error", "_is_ahead", "_task", "_waiter", "_yielded")

    def __init__(self, loop: AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> None:
        Waiter.__init__(self, loop)
        self._coroutine = coroutine
        self._task: Task[Any] | None = None
        self._waiter: Waiter | None = None  # what the coroutine waits for
        self._is_ahead = False  # whether the task is to know of a step that it has not done: the coroutine has
        self._yielded: Any = None  # yielded this,
        self._error: BaseException | None = None  # or raised this; StopIteration if it has returned

    def go_on(self) -> None:
        """Step the coroutine: the message that it waits for is there."""
        self._waiter = None
        loop: Any = self._loop
        task: Any = self._task
        try:
            _enter_task(loop, task)
        except Exception:  # another one is running, or there is no memory
            self.wake()
            return
        try:
            self._yielded = native.step(self._coroutine, self._context)  # type: ignore[arg-type]  # the task gave one
        except BaseException as error:
            self._error = error
        _leave_task(loop, task)
        task = None  # as in wake()
        if self._is_ahead or self._error is not None or not self._takes(self._yielded):
            self._is_ahead = True
            self.wake()

    def _takes(self, yielded: Any) -> bool:
        """Whether the coroutine waits for a message, and the stepper for it."""
        if type(yielded) is not Waiter:
            return False
        waiter: Waiter = yielded
        if waiter._done or waiter._callback is not None or waiter._loop is not self._loop:
            return False
        waiter._stepper = self
        self._waiter = waiter
        self._yielded = None
        return True

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the wait, as Waiter.cancel(); amid a step there is none, so the task has to remember it."""
        if self._waiter is None:
            if not self._done:
                self._is_ahead = True
            return False
        self._waiter.cancel()
        self._waiter = None
        return Waiter.cancel(self, msg)

    # The coroutine of the task.

    def __await__(self) -> Stepper:
        return self

    def __iter__(self) -> Stepper:
        return self

    def __next__(self) -> Any:
        if self._is_ahead:
            return self._catch_up()
        try:
            return self._pass_on(self._coroutine.send(None))
        except BaseException:
            self._task = None
            raise

    def send(self, value: None) -> Any:
        """Do a step."""
        return self.__next__()

    def throw(self, kind: Any, error: Any = None, traceback: Any = None) -> Any:
        """Do a step, with an exception."""
        exception = kind if error is None else error
        try:
            if self._is_ahead:  # cancelled by itself, in the middle of a step
                yielded = self._catch_up(exception)
                # As a task does: what is waited for is cancelled, and only what can't be is left.
                if hasattr(yielded, "_asyncio_future_blocking") and yielded.cancel(*exception.args[:1]):
                    return yielded
            return self._pass_on(self._coroutine.throw(exception))
        except BaseException:
            self._task = None
            raise
        finally:
            kind = error = exception = None  # the exception has this frame

    def close(self) -> None:
        """End the coroutine."""
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        """Names, code and frames are the coroutine's, for whoever prints the task."""
        return getattr(self._coroutine, name)

    def _pass_on(self, yielded: Any) -> Any:
        """What the task is to wait for."""
        if not self._takes(yielded):
            return yielded
        if self._task is None:
            self._task = current_task()
        self._done = self._cancelled = False
        self._asyncio_future_blocking = True
        return self

    def _catch_up(self, instead: BaseException | None = None) -> Any:
        """Tell the task of the step that it does not know of; if the coroutine has returned, ``instead`` is raised."""
        self._is_ahead = False
        yielded, error = self._yielded, self._error
        self._yielded = self._error = None
        if error is None:
            return yielded
        self._task = None
        try:
            raise instead if instead is not None and isinstance(error, StopIteration) else error
        finally:
            error = instead = None


def _raise(error: BaseException) -> None:
    raise error
