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

const LOOPING_MAIN = `
  const turns = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker("data:application/javascript," + encodeURIComponent(
    "onmessage = ({ data }) => { for (;;) Atomics.add(data, 0, 1); };",
  ), { type: "module" });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  worker.postMessage(turns);
  while (Atomics.load(turns, 0) === 0) await pause(10);
  worker.terminate();
  // Longer than the two seconds after which the runtime was meant to insist.
  await pause(3_000);
  const before = Atomics.load(turns, 0);
  await pause(100);
  console.log(Atomics.load(turns, 0) === before ? "ended" : "goes on");
  Deno.exit(0);
`;

Deno.test("fact: a worker that loops is not ended by terminate(), and does not keep the process from ending", async () => {
  // In a process of its own, whose end ends the thread.
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", LOOPING_MAIN],
    env: { DENO_NO_UPDATE_CHECK: "1" },
    signal: AbortSignal.timeout(20_000),
  }).output();
  assertEquals([success, new TextDecoder().decode(stdout).trim()], [true, "goes on"]);
});
