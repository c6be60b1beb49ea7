/**
 * Sends empty datagrams to each `ADDRESS PORT` of its arguments in turn until its input ends, then prints how many
 * went to each.
 *
 * @module
 */
import { createSocket } from "node:dgram";

/** Few enough that no queue on the way overflows. */
const BATCH = 4;
const BATCH_MS = 1;

if (import.meta.main) {
  const targets = Deno.args.map((text) => text.split(" ") as [string, string]);
  const socket = createSocket("udp4");
  const send = (address: string, port: string) =>
    new Promise<void>((resolve, reject) =>
      socket.send(new Uint8Array(1), Number(port), address, (error) => error ? reject(error) : resolve())
    );
  let isOver = false, sent = 0;
  (async () => {
    for await (const _ of Deno.stdin.readable);
    isOver = true;
  })();
  while (!isOver) {
    for (let i = 0; i < BATCH; i++, sent++) {
      await Promise.all(targets.map(([address, port]) => send(address, port)));
    }
    if (sent === BATCH) console.log("sending");
    await new Promise((resolve) => setTimeout(resolve, BATCH_MS));
  }
  console.log(`sent ${sent}`);
  socket.close();
}
