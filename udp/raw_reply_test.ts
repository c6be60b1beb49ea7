import { Arena, encodeSockaddr, EPERM, openSyscalls, type Syscalls } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { RAW_REPLY_BYTES, RawReply } from "./raw_reply.ts";

const CLIENT = sockaddr("[2001:db8::2]:40000"), SOURCE = sockaddr("[2001:db8::5]:53");

function sockaddr(endpoint: string): Uint8Array {
  const bytes = new Uint8Array(28);
  encodeSockaddr(parseEndpoint(endpoint)!, bytes);
  return bytes;
}

/** What is called while `send` is called twice, with `results` in place of a success by the name of the call. */
function callsOf(results: Partial<Record<keyof Syscalls, number>>): { calls: string[]; sent: number[] } {
  const calls: string[] = [];
  const result = (call: keyof Syscalls, success: number) => {
    calls.push(call);
    return results[call] ?? success;
  };
  const sys: Syscalls = {
    ...openSyscalls(),
    socket: (family) => result("socket", 1000 + family),
    setsockopt: () => result("setsockopt", 0),
    bind: () => result("bind", 0),
    sendmsg: () => result("sendmsg", 8),
    close: () => result("close", 0),
  };
  const reply = new RawReply(sys, new Arena(RAW_REPLY_BYTES), 7);
  const sent = [reply.send(CLIENT, SOURCE, 0, 0, 0), reply.send(CLIENT, SOURCE, 0, 0, 0)];
  reply.close();
  return { calls, sent };
}

Deno.test("raw_reply: opens its socket once, and closes it in the end", () => {
  const { calls, sent } = callsOf({});
  const open = ["socket", "setsockopt", "setsockopt", "setsockopt", "bind"];
  assertEquals(calls, [...open, "sendmsg", "sendmsg", "close"]);
  assertEquals(sent, [0, 0]);
});

Deno.test("raw_reply: a socket that cannot be made ready is closed; the next datagram tries again", () => {
  for (const call of ["setsockopt", "bind"] as const) {
    const { calls, sent } = callsOf({ [call]: -EPERM });
    assertEquals(sent, [-EPERM, -EPERM]);
    assertEquals(calls.filter((name) => name === "socket" || name === "close"), [
      "socket",
      "close",
      "socket",
      "close",
    ]);
  }
  assertEquals(callsOf({ socket: -EPERM }), { calls: ["socket", "socket"], sent: [-EPERM, -EPERM] });
});
