/**
 * The signals that ask us to stop.
 *
 * @module
 */
const STOP_SIGNALS = ["SIGTERM", "SIGINT"] as const;

/** Calls `stop` for every SIGTERM and SIGINT until disposed of; `nth` is 1 for the first one. */
export function onStopSignals(stop: (nth: number) => void): Disposable {
  let received = 0;
  const listener = () => stop(++received);
  for (const signal of STOP_SIGNALS) Deno.addSignalListener(signal, listener);
  return {
    [Symbol.dispose]: () => {
      for (const signal of STOP_SIGNALS) Deno.removeSignalListener(signal, listener);
    },
  };
}
