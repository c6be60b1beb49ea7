/**
 * The signals that ask us to stop, or to read the configuration again.
 *
 * @module
 */
const STOP_SIGNALS: readonly Deno.Signal[] = ["SIGTERM", "SIGINT"];

/**
 * Calls `stop` for every signal that asks us to stop until disposed of; `nth` is 1 for the first one. SIGHUP is one of
 * them where there is no `reload`, and when the terminal that we were started from is gone.
 */
export function onStopSignals(stop: (nth: number) => void, reload?: () => void): Disposable {
  let received = 0;
  const stopped = () => stop(++received);
  const listeners: [Deno.Signal, () => void][] = STOP_SIGNALS.map((signal) => [signal, stopped]);
  if (!isHangupIgnored(Deno.readTextFileSync("/proc/self/status"))) {
    const hadTerminal = hasTerminal();
    listeners.push([
      "SIGHUP",
      () => reload === undefined || (hadTerminal && !hasTerminal()) ? stopped() : reload(),
    ]);
  }
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]: () => {
      for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}

/**
 * Whether whoever started us had SIGHUP ignored, as nohup(1) does to keep us running: the lowest bit in
 * /proc/self/status. A listener would undo that.
 */
export function isHangupIgnored(status: string): boolean {
  return /^SigIgn:\s*[0-9a-f]*[13579bdf]$/m.test(status);
}

/** Whether there is a controlling terminal: one that has hung up is none (tty_ioctl(4), TIOCNOTTY). */
function hasTerminal(): boolean {
  try {
    Deno.openSync("/dev/tty").close();
    return true;
  } catch {
    return false;
  }
}
