/**
 * Entry point of a worker thread: waits for `start`, then belongs to the data plane.
 *
 * @module
 */
import type { FromWorker, ToWorker } from "./protocol.ts";
import { runWorker } from "./worker.ts";

/** The part of a dedicated worker's global scope that is used here (the DOM's types are not loaded). */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = (event) => {
  if (event.data.kind !== "start") return;
  runWorker(event.data.config, event.data.port, (message) => scope.postMessage(message));
  scope.close();
};
