import fc from "fast-check";
import { encodeSockaddr, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { StreamFailure, StreamTarget } from "../flow/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertMatch } from "../tests/assert.ts";
import { type Ending, SCRIPTED_FD, ScriptedStream, split } from "../tests/scripted_stream.ts";
import { HttpHop } from "./http.ts";
import { MAX_HEAD_BYTES, ResponseHead } from "./http_head.ts";
import type { HttpSettings } from "./settings.ts";

const SETTINGS: HttpSettings = {
  kind: "http",
  name: "squid",
  server: parseEndpoint("192.0.2.1:3128")!,
  credentials: undefined,
  timeoutMs: 5000,
};

function sockaddr(text: string): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
  encodeSockaddr(parseEndpoint(text)!, bytes);
  return bytes;
}

const encoded = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

function connect(
  stream: ScriptedStream,
  pieces: readonly Uint8Array[],
  ending: Ending = "silence",
  target: StreamTarget = sockaddr("203.0.113.9:443"),
  settings: Partial<HttpSettings> = {},
): StreamFailure | undefined {
  const hop = new HttpHop(stream.environment, { ...SETTINGS, ...settings });
  const request = {
    client: sockaddr("198.51.100.1:4000"),
    destination: sockaddr("203.0.113.9:443"),
    target,
    deadlineMs: 60_000,
  };
  return stream.run(hop.handshake(SCRIPTED_FD, request), pieces, ending);
}

/** Status, or what is wrong. */
function read(text: string): number | string {
  const head = new ResponseHead();
  head.take(encoded(text));
  assert(head.isDone, `not done after ${JSON.stringify(text)}`);
  return head.error ?? head.status;
}

Deno.test("http: the request, for each kind of target, with and without a login", () => {
  using stream = new ScriptedStream();
  const sent = (target: StreamTarget, settings: Partial<HttpSettings> = {}): string => {
    connect(stream, [], "silence", target, settings);
    return new TextDecoder().decode(stream.sent);
  };
  assertEquals(
    sent(sockaddr("203.0.113.9:443")),
    "CONNECT 203.0.113.9:443 HTTP/1.1\r\nHost: 203.0.113.9:443\r\n\r\n",
  );
  assertEquals(
    sent(sockaddr("[2001:db8::9]:443")),
    "CONNECT [2001:db8::9]:443 HTTP/1.1\r\nHost: [2001:db8::9]:443\r\n\r\n",
  );
  // RFC 7617, section 2.1: the example in UTF-8.
  const credentials = { username: "test", password: "123\u00a3" };
  assertEquals(
    sent({ host: "host.example", port: 80 }, { credentials }),
    "CONNECT host.example:80 HTTP/1.1\r\nHost: host.example:80\r\nProxy-Authorization: Basic dGVzdDoxMjPCow==\r\n\r\n",
  );
});

Deno.test("http: a name that would be more than a name is not asked for", () => {
  using stream = new ScriptedStream();
  for (const host of ["", "a b", "a\r\nX: y", "a:1", "ä.example", "a/b"]) {
    assertEquals(connect(stream, [], "silence", { host, port: 80 })?.end.reason, "unreachable");
    assertEquals(stream.sent.length, 0);
  }
});

Deno.test("http: whatever the pieces, heads are read to their end and what follows is left", () => {
  using stream = new ScriptedStream();
  const heads = fc.constantFrom(
    "HTTP/1.1 200 Connection established\r\n\r\n",
    "HTTP/1.0 200\r\nVia: 1.1 squid\r\n\r\n",
    "HTTP/1.1 299 \r\nA:\r\nB: \tb\x80\xff c\r\n\r\n",
    "HTTP/1.1 200 OK\nA: b\n\n",
    // RFC 9110, section 9.3.6: these are ignored.
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  );
  const cases = fc.record({
    head: heads,
    after: fc.uint8Array({ maxLength: 60 }),
    cuts: fc.array(fc.nat(200), { maxLength: 200 }),
  });
  fc.assert(fc.property(cases, ({ head, after, cuts }) => {
    const answer = Uint8Array.from([...encoded(head), ...after]);
    assertEquals(connect(stream, split(answer, cuts), "close"), undefined);
    assertEquals(stream.unread, after);
  }));
});

Deno.test("http: every status has its meaning", () => {
  using stream = new ScriptedStream();
  const meanings = new Map<number, [string, boolean]>([
    [401, ["upstream-auth", true]],
    [403, ["denied", false]],
    [407, ["upstream-auth", true]],
    [500, ["upstream-failed", false]],
    [502, ["unreachable", false]],
    [503, ["unreachable", false]],
    [504, ["connect-timeout", false]],
  ]);
  for (let status = 101; status < 1000; status = status === 101 ? 200 : status + 1) {
    const failure = connect(stream, [encoded(`HTTP/1.1 ${status} X\r\n\r\nbody`)], "close");
    if (status >= 200 && status < 300) assertEquals(failure, undefined);
    else {
      const [reason, atUpstream] = meanings.get(status) ?? ["upstream-failed", true];
      assertEquals([failure!.end.reason, failure!.atUpstream], [reason, atUpstream]);
      assertMatch(failure!.detail, new RegExp(`^http 192.0.2.1:3128: answered ${status}`));
    }
  }
});

Deno.test("http: hostile heads are refused, and say why", () => {
  const cases: [string, RegExp][] = [
    ["SSH-2.0-OpenSSH_9.2\r\n", /^no HTTP\/1.x status line$/],
    ["HTTP/2.0 200 OK\r\n\r\n", /^no HTTP\/1.x status line$/],
    ["HTTP/1.1200", /^no HTTP\/1.x status line$/],
    ["http/1.1 200", /^no HTTP\/1.x status line$/],
    ["HTTP/1.1  200", /no number$/],
    ["HTTP/1.1 20x", /no number$/],
    ["HTTP/1.1 020 X", /below 100$/],
    ["HTTP/1.1 2000", /more than three digits$/],
    ["HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", /^a folded header line$/],
    ["HTTP/1.1 200 OK\r\n\tb\r\n\r\n", /^a folded header line$/],
    ["HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", /^a control character, 0$/],
    ["HTTP/1.1 200 O\x00K", /^a control character, 0$/],
    ["HTTP/1.1 200 OK\x7f", /^a control character, 127$/],
    ["HTTP/1.1 200 OK\rX", /^a carriage return within a line$/],
    ["HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", /^a carriage return within a line$/],
    ["HTTP/1.1 200 OK\r\n\rX", /^a carriage return within a line$/],
    ["HTTP/1.1 200 OK\r\nA : b\r\n\r\n", /^a header line that is no name and value$/],
    ["HTTP/1.1 200 OK\r\nA\r\n\r\n", /^a header line that is no name and value$/],
    ["HTTP/1.1 200 OK\r\n: b\r\n\r\n", /^a header line without a name$/],
    ["HTTP/1.1 200 OK\r\nA\x80: b\r\n\r\n", /^a header line that is no name and value$/],
    [`HTTP/1.1 200 OK\r\nA: ${"b".repeat(MAX_HEAD_BYTES)}`, /^a head of more than 8192 bytes$/],
    ["HTTP/1.1 100 Continue\r\n\r\n".repeat(400), /^a head of more than 8192 bytes$/],
  ];
  for (const [text, wanted] of cases) assertMatch(String(read(text)), wanted);
});

Deno.test("http: the longest head that is allowed, and one byte more", () => {
  const withLength = (length: number): string => {
    const around = "HTTP/1.1 200 OK\r\nA: \r\n\r\n";
    return `HTTP/1.1 200 OK\r\nA: ${"b".repeat(length - around.length)}\r\n\r\n`;
  };
  assertEquals(read(withLength(MAX_HEAD_BYTES)), 200);
  // More than is peeked at in one call.
  using stream = new ScriptedStream();
  assertEquals(connect(stream, [encoded(`${withLength(MAX_HEAD_BYTES)}after`)]), undefined);
  assertEquals(stream.unread, encoded("after"));
  assertEquals(read(withLength(MAX_HEAD_BYTES + 1)), "a head of more than 8192 bytes");
});

Deno.test("http: a proxy that closes at any byte is at fault; one that is silent may be waiting for the destination", () => {
  using stream = new ScriptedStream();
  const answer = encoded("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
  for (let length = 0; length < answer.length; length++) {
    const closed = connect(stream, [answer.slice(0, length)], "close")!;
    assertEquals([closed.end.reason, closed.atUpstream], ["upstream-failed", true]);
    assertEquals(closed.detail, "http 192.0.2.1:3128: closed the connection");
    const silent = connect(stream, [answer.slice(0, length)])!;
    assertEquals([silent.end.reason, silent.atUpstream], ["connect-timeout", false]);
  }
});

Deno.test("http: any bytes whatever end in a result, the same for all pieces", () => {
  using stream = new ScriptedStream();
  const part = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom(
      "HTTP/1.1 ",
      "200",
      " OK",
      "\r\n",
      "\n",
      "\r",
      "A",
      ":",
      " ",
      "\t",
      "\0",
      "100",
      "\r\n\r\n",
    ),
  );
  const cases = fc.record({
    parts: fc.array(part, { maxLength: 20 }),
    valid: fc.boolean(),
    cuts: fc.array(fc.nat(200), { maxLength: 50 }),
  });
  fc.assert(fc.property(cases, ({ parts, valid, cuts }) => {
    const answer = encoded(`${valid ? "HTTP/1.1 200 OK\r\n" : ""}${parts.join("")}`);
    const whole = connect(stream, [answer], "close");
    const rest = stream.unread;
    assertEquals(connect(stream, split(answer, cuts), "close"), whole);
    if (whole === undefined) assertEquals(stream.unread, rest);
  }));
});
