/**
 * Entry point of a worker thread: waits for `start`, then belongs to the data plane.
 *
 * @module
 */
import { importPolicy } from "./policy_module.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";
import { runWorker } from "./worker.ts";

/** The part of a dedicated worker's global scope that is used here (the DOM's types are not loaded). */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = async ({ data }) => {
  if (data.kind === "start") await runWorker(data.config, data.port, (message) => scope.postMessage(message));
  else if (data.kind === "try-policy") {
    const fault = await importPolicy(data.url).then(() => undefined, (error: Error) => error.message);
    scope.postMessage({ kind: "tried", fault });
  } else return;
  scope.close();
};
