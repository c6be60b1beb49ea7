import fc from "fast-check";
import { decodeSockaddr, encodeSockaddr, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { StreamFailure, StreamRequest, StreamTarget } from "../flow/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "../tests/assert.ts";
import { type Ending, SCRIPTED_FD, ScriptedStream, split } from "../tests/scripted_stream.ts";
import type { Socks5Settings } from "./settings.ts";
import { Socks5Hop } from "./socks5.ts";
import { encodeRequest } from "./socks5_messages.ts";

const SETTINGS: Socks5Settings = {
  kind: "socks5",
  name: "office",
  server: parseEndpoint("192.0.2.1:1080")!,
  credentials: undefined,
  pipeline: true,
  udp: true,
  timeoutMs: 5000,
};
const LOGIN = { username: "user", password: "s3cret" };
const GREETED = [5, 0], GREETED_LOGIN = [5, 2, 1, 0];
const BOUND_V4 = [5, 0, 0, 1, 198, 51, 100, 7, 0x12, 0x34];
const BOUND_V6 = [5, 0, 0, 4, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x12, 0x34];
const BOUND_NAME = [5, 0, 0, 3, 3, 0x61, 0x0a, 0x62, 0x12, 0x34];
const BOUND_LONG_NAME = [5, 0, 0, 3, 255, ...new Array(255).fill(0x61), 0x12, 0x34];

function sockaddr(text: string): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
  encodeSockaddr(parseEndpoint(text)!, bytes);
  return bytes;
}

function request(target: StreamTarget): StreamRequest {
  const client = sockaddr("198.51.100.1:4000");
  return { client, destination: sockaddr("203.0.113.9:443"), target, deadlineMs: 60_000 };
}

/** What becomes of CONNECT when the server says this. */
function connect(
  stream: ScriptedStream,
  settings: Partial<Socks5Settings>,
  pieces: readonly Uint8Array[],
  ending: Ending = "silence",
  target: StreamTarget = sockaddr("203.0.113.9:443"),
): StreamFailure | undefined {
  const hop = new Socks5Hop(stream.environment, { ...SETTINGS, ...settings });
  return stream.run(hop.handshake(SCRIPTED_FD, request(target)), pieces, ending);
}

const bytes = (...parts: readonly (readonly number[])[]): Uint8Array => Uint8Array.from(parts.flat());

Deno.test("socks5: requests name IPv4, IPv6 and hosts", () => {
  assertEquals(
    encodeRequest(1, sockaddr("203.0.113.9:443")),
    bytes([5, 1, 0, 1, 203, 0, 113, 9, 0x01, 0xbb]),
  );
  assertEquals(
    encodeRequest(1, sockaddr("[2001:db8::9]:443")),
    bytes([5, 1, 0, 4, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x01, 0xbb]),
  );
  assertEquals(encodeRequest(1, { host: "a.b", port: 443 }), bytes([5, 1, 0, 3, 3, 97, 46, 98, 0x01, 0xbb]));
  assertThrows(() => encodeRequest(1, { host: "x".repeat(256), port: 1 }), RangeError, "256 bytes found");
});

Deno.test("socks5: pipelined, everything leaves at once; otherwise one step waits for the other", () => {
  using stream = new ScriptedStream();
  const ask = [5, 1, 0, 1, 203, 0, 113, 9, 0x01, 0xbb];
  const login = [1, 4, ...new TextEncoder().encode("user"), 6, ...new TextEncoder().encode("s3cret")];
  assertEquals(connect(stream, {}, []) !== undefined, true);
  assertEquals(stream.sent, bytes([5, 1, 0], ask));
  connect(stream, { credentials: LOGIN }, []);
  assertEquals(stream.sent, bytes([5, 1, 2], login, ask));
  connect(stream, { pipeline: false }, []);
  assertEquals(stream.sent, bytes([5, 1, 0]));
  connect(stream, { pipeline: false, credentials: LOGIN }, []);
  assertEquals(stream.sent, bytes([5, 2, 0, 2]));
  connect(stream, { pipeline: false, credentials: LOGIN }, [bytes([5, 2])]);
  assertEquals(stream.sent, bytes([5, 2, 0, 2], login));
  connect(stream, { pipeline: false, credentials: LOGIN }, [bytes([5, 0])]);
  assertEquals(stream.sent, bytes([5, 2, 0, 2], ask));
});

Deno.test("socks5: whatever the pieces, the handshake takes its own bytes and leaves the others", () => {
  using stream = new ScriptedStream();
  const cases = fc.record({
    pipeline: fc.boolean(),
    login: fc.boolean(),
    bound: fc.constantFrom(BOUND_V4, BOUND_V6, BOUND_NAME, BOUND_LONG_NAME),
    after: fc.uint8Array({ maxLength: 40 }),
    cuts: fc.array(fc.nat(300), { maxLength: 80 }),
  });
  fc.assert(fc.property(cases, ({ pipeline, login, bound, after, cuts }) => {
    const answers = bytes(login ? GREETED_LOGIN : GREETED, bound, [...after]);
    const credentials = login ? LOGIN : undefined;
    assertEquals(connect(stream, { pipeline, credentials }, split(answers, cuts), "close"), undefined);
    assertEquals(stream.unread, after);
  }));
});

Deno.test("socks5: a server that closes, or goes silent, at any byte is at fault; behind its greeting only if it closes", () => {
  using stream = new ScriptedStream();
  for (const bound of [BOUND_V4, BOUND_V6, BOUND_NAME]) {
    for (const credentials of [undefined, LOGIN]) {
      const greeting = credentials === undefined ? GREETED : GREETED_LOGIN;
      const answers = bytes(greeting, bound);
      for (let length = 0; length < answers.length; length++) {
        const closed = connect(stream, { credentials }, [answers.slice(0, length)], "close")!;
        assertEquals([closed.end.reason, closed.atUpstream], ["upstream-failed", true]);
        assertEquals(closed.detail, "socks5 192.0.2.1:1080: closed the connection");
        const silent = connect(stream, { credentials }, [answers.slice(0, length)])!;
        const waitsForDestination = length >= greeting.length && length < greeting.length + 4;
        assertEquals(
          [silent.end.reason, silent.atUpstream],
          waitsForDestination ? ["connect-timeout", false] : ["upstream-failed", true],
        );
        assertMatch(silent.detail, /no answer in time$/);
      }
    }
  }
});

Deno.test("socks5: every reply code has its meaning, also when nothing follows it", () => {
  using stream = new ScriptedStream();
  const meanings = new Map([
    [1, ["upstream-failed", false]],
    [2, ["denied", false]],
    [3, ["unreachable", false]],
    [4, ["unreachable", false]],
    [5, ["refused", false]],
    [6, ["connect-timeout", false]],
    [7, ["upstream-failed", true]],
    [8, ["unreachable", false]],
  ]);
  for (let code = 1; code < 256; code++) {
    const failure = connect(stream, {}, [bytes(GREETED, [5, code, 0, 1])], "close")!;
    assertEquals([failure.end.reason, failure.atUpstream], meanings.get(code) ?? ["upstream-failed", true]);
    assertEquals(failure.end.side, "upstream");
  }
});

Deno.test("socks5: refused logins are told as such, and never with the password", () => {
  using stream = new ScriptedStream();
  const cases: [Partial<Socks5Settings>, number[]][] = [
    [{}, [5, 0xff]],
    [{ credentials: LOGIN }, [5, 0xff]],
    [{ credentials: LOGIN }, [5, 2, 1, 1]],
    [{ credentials: LOGIN }, [5, 2, 1, 0xff]],
    [{ credentials: LOGIN, pipeline: false }, [5, 2, 1, 1]],
  ];
  for (const [settings, answer] of cases) {
    const failure = connect(stream, settings, [bytes(answer)])!;
    assertEquals([failure.end.reason, failure.atUpstream], ["upstream-auth", true]);
    assert(!failure.detail.includes(LOGIN.password));
  }
});

Deno.test("socks5: what is not SOCKS5, or a method that was not offered, is the server's fault", () => {
  using stream = new ScriptedStream();
  const cases: [Partial<Socks5Settings>, number[]][] = [
    [{}, [0x48, 0x54]],
    [{}, [4, 0]],
    [{}, [5, 2]],
    [{}, [5, 1]],
    [{ credentials: LOGIN }, [5, 0]],
    [{ credentials: LOGIN }, [5, 2, 5, 0]],
    [{}, [...GREETED, 4, 0, 0, 1]],
    [{}, [...GREETED, 5, 0, 0, 2]],
    [{}, [...GREETED, 5, 0, 0, 0xff]],
  ];
  for (const [settings, answer] of cases) {
    const failure = connect(stream, settings, [bytes(answer)])!;
    assertEquals([failure.end.reason, failure.atUpstream], ["upstream-failed", true]);
    assertMatch(failure.detail, /is not SOCKS5: [0-9a-f ]+$/);
  }
});

Deno.test("socks5: any bytes whatever end in a result", () => {
  using stream = new ScriptedStream();
  const cases = fc.record({
    garbage: fc.uint8Array({ maxLength: 300 }),
    valid: fc.nat(14),
    cuts: fc.array(fc.nat(300), { maxLength: 20 }),
    login: fc.boolean(),
    ending: fc.constantFrom<Ending>("close", "silence"),
  });
  fc.assert(fc.property(cases, ({ garbage, valid, cuts, login, ending }) => {
    // Garbage from the beginning, and behind a beginning that is right.
    const answers = bytes([...bytes(login ? GREETED_LOGIN : GREETED, BOUND_V4).slice(0, valid), ...garbage]);
    const failure = connect(stream, login ? { credentials: LOGIN } : {}, split(answers, cuts), ending);
    assert(failure === undefined || failure.fd === -1);
  }));
});

Deno.test("socks5: names and passwords fill 1 to 255 bytes, of UTF-8", () => {
  using stream = new ScriptedStream();
  const make = (username: string, password: string) =>
    new Socks5Hop(stream.environment, { ...SETTINGS, credentials: { username, password } });
  make("u", "p".repeat(255));
  make("ü".repeat(127), "p");
  assertThrows(() => make("", "p"), RangeError, "username: 0 bytes found");
  assertThrows(() => make("u", "p".repeat(256)), RangeError, "password: 256 bytes found");
  assertThrows(() => make("ü".repeat(128), "p"), RangeError, "username: 256 bytes found");
});

Deno.test("socks5: the address that a relay is bound to is read, of every kind", () => {
  using stream = new ScriptedStream();
  const hop = new Socks5Hop(stream.environment, SETTINGS);
  const bound = (reply: number[]) =>
    stream.run(hop.associate(SCRIPTED_FD, sockaddr("0.0.0.0:0"), 60_000), [bytes(GREETED, reply)]);
  assertEquals(bound(BOUND_V4), { bound: sockaddr("198.51.100.7:4660") });
  assertEquals(stream.sent.slice(3), bytes([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
  assertEquals(bound(BOUND_V6), { bound: sockaddr("[2001:db8::7]:4660") });
  // Control characters do not reach a log.
  assertEquals(bound(BOUND_NAME), { bound: "a?b" });
  const mapped = [5, 0, 0, 4, ...new Array(10).fill(0), 0xff, 0xff, 198, 51, 100, 7, 0x12, 0x34];
  const answer = bound(mapped);
  assert("bound" in answer && answer.bound instanceof Uint8Array);
  assertEquals(decodeSockaddr(answer.bound), parseEndpoint("198.51.100.7:4660")!);
});
