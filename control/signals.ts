/**
 * The signals that ask us to stop.
 *
 * @module
 */
const STOP_SIGNALS: readonly Deno.Signal[] = ["SIGTERM", "SIGINT", "SIGHUP"];

/** Calls `stop` for every signal that asks us to stop until disposed of; `nth` is 1 for the first one. */
export function onStopSignals(stop: (nth: number) => void): Disposable {
  const ignoresHangup = isHangupIgnored(Deno.readTextFileSync("/proc/self/status"));
  const signals = STOP_SIGNALS.filter((signal) => signal !== "SIGHUP" || !ignoresHangup);
  let received = 0;
  const listener = () => stop(++received);
  for (const signal of signals) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]: () => {
      for (const signal of signals) Deno.removeSignalListener(signal, listener);
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
