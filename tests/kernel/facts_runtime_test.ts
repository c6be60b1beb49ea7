/**
 * Facts about the runtime that the split into threads stands on: docs/kernel-facts.md names these tests.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";

/** Stays in its message handler, as a data-plane worker does, and looks for messages from there. */
const BLOCKED_WORKER = `
import { receiveMessageOnPort } from "node:worker_threads";
self.onmessage = ({ data: port }) => {
  const read = (from) => {
    try {
      return receiveMessageOnPort(from)?.message;
    } catch (error) {
      return error.name;
    }
  };
  let byPort;
  const until = performance.now() + 5000;
  while (byPort === undefined && performance.now() < until) byPort = read(port);
  self.postMessage({ byPort, byInbox: read(self) });
};
`;

Deno.test("fact: a worker that blocks can read a MessagePort, but not its own inbox", async () => {
  const worker = new Worker(`data:application/javascript,${encodeURIComponent(BLOCKED_WORKER)}`, {
    type: "module",
  });
  const { port1, port2 } = new MessageChannel();
  try {
    const answer = new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage(port2, [port2]);
    worker.postMessage("to the inbox");
    port1.postMessage("to the port");
    assertEquals(await answer, { byPort: "to the port", byInbox: "TypeError" });
  } finally {
    port1.close();
    worker.terminate();
  }
});
