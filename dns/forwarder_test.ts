import { EMFILE } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assert, assertEquals, assertGreater, assertLessOrEqual, assertThrows } from "../tests/assert.ts";
import { type Datagram, DnsWorld, idOf, makeAnswer, makeQuery } from "../tests/dns_world.ts";
import { MAX_TRANSACTIONS, MAX_TRANSACTIONS_OF_A_CLIENT } from "./forwarder.ts";

const ECHO = Uint8Array.of(0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9);

/** The only datagram there is. */
function only(datagrams: readonly Datagram[]): Datagram {
  assertEquals(datagrams.length, 1);
  return datagrams[0]!;
}

Deno.test("dns: the client gets its own id back, from whom it had asked", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  const query = makeQuery(0x1234, "Www.eXample.COM");
  world.ask(query, "192.0.2.7:40000", "203.0.113.53:53");
  world.turn();
  const { bytes, peer } = only(resolver.receive());
  assertEquals(bytes.slice(2), query.slice(2));
  const answer = makeAnswer(bytes, ECHO);
  resolver.send(answer, peer);
  world.turn();
  const wanted = answer.slice();
  wanted.set([0x12, 0x34]);
  assertEquals(world.replies, [
    { client: "192.0.2.7:40000", source: "203.0.113.53:53", bytes: wanted, tos: 0 },
  ]);
  assertEquals(world.counts("dnsQueries", "dnsAnswers", "dnsPendingNow", "dnsMismatched"), [1, 1, 0, 0]);
});

Deno.test("dns: equal ids of many clients never mix, whatever the order of the answers", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  const forwarder = world.start([resolver.endpoint]);
  const count = 500, queries: Datagram[] = [];
  for (let i = 0; i < count; i++) {
    const client = i % 2 === 0 ? `192.0.2.${i >> 1 & 127}:${1000 + i}` : `[2001:db8::${i}]:4000`;
    world.ask(makeQuery(7, "same.example"), client, `203.0.113.${i & 127}:53`);
    // The resolver's queue is shorter than all of them.
    if (i % 50 !== 49) continue;
    world.turn();
    queries.push(...resolver.receive());
  }
  assertEquals([queries.length, forwarder.pending], [count, count]);
  assertEquals(new Set(queries.map(({ bytes, peer }) => `${peer.port} ${idOf(bytes)}`)).size, count);
  // Which query is whose cannot be told by its bytes; so each answer says which query it is for.
  const order = queries.map((_, at) => at).sort((a, b) => (a * 7919) % count - (b * 7919) % count);
  for (const [i, at] of order.entries()) {
    resolver.send(makeAnswer(queries[at]!.bytes, Uint8Array.of(at >> 8, at & 0xff)), queries[at]!.peer);
    if (i % 50 === 49) world.turn();
  }
  assertEquals([world.replies.length, forwarder.pending], [count, 0]);
  for (const { client, source, bytes } of world.replies) {
    const i = bytes.at(-2)! << 8 | bytes.at(-1)!;
    assertEquals(
      client,
      i % 2 === 0 ? `192.0.2.${i >> 1 & 127}:${1000 + i}` : `[2001:db8::${i.toString()}]:4000`,
    );
    assertEquals([source, idOf(bytes)], [`203.0.113.${i & 127}:53`, 7]);
  }
});

Deno.test("dns: ids and ports are drawn anew for each turn, from all there are", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  const ids = new Set<number>(), ports = new Set<number>();
  for (let i = 0; i < 200; i++) {
    world.ask(makeQuery(1, "a.example"));
    world.turn();
    const { bytes, peer } = only(resolver.receive());
    ids.add(idOf(bytes));
    ports.add(peer.port);
    resolver.send(makeAnswer(bytes), peer);
    world.turn();
  }
  assertGreater(ids.size, 190);
  assertEquals(ports.size, 8);
  // A minute later each port is another.
  const before = new Set(ports);
  world.advance(61_000);
  ports.clear();
  for (let i = 0; i < 200; i++) {
    world.ask(makeQuery(1, "a.example"));
    world.turn();
    const { bytes, peer } = only(resolver.receive());
    ports.add(peer.port);
    resolver.send(makeAnswer(bytes), peer);
    world.turn();
  }
  assertEquals([ports.size, world.openDescriptors], [8, 8]);
  assertGreater([...ports].filter((port) => !before.has(port)).length, 6);
});

Deno.test("dns: ports change although something always waits on them, and late answers come by the old ones", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  const ask = (): Datagram => {
    world.ask(makeQuery(1, "a.example"));
    world.turn();
    return only(resolver.receive());
  };
  const answer = ({ bytes, peer }: Datagram) => {
    resolver.send(makeAnswer(bytes), peer);
    world.turn();
  };
  // Its sockets are eight when every one of them has been drawn.
  for (let i = 0; i < 500 && world.openDescriptors < 8; i++) answer(ask());
  world.advance(59_500);
  const waiting = Array.from({ length: 100 }, ask);
  const before = new Set(waiting.map(({ peer }) => peer.port));
  assertEquals([before.size, world.openDescriptors], [8, 8]);
  world.advance(1_000);
  const after = Array.from({ length: 100 }, ask);
  assertEquals(after.filter(({ peer }) => before.has(peer.port)), []);
  assertEquals(world.openDescriptors, 16);
  waiting.forEach(answer);
  assertEquals(world.openDescriptors, 8);
  after.forEach(answer);
  assertEquals(world.counts("dnsAnswers", "dnsMismatched"), [world.count("dnsQueries"), 0]);
});

Deno.test("dns: a resolver that has fallen silent is asked from other ports", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  const ports = () => {
    const seen = new Set<number>();
    for (let i = 0; i < 100; i++) {
      world.ask(makeQuery(1, "a.example"));
      world.turn();
      seen.add(only(resolver.receive()).peer.port);
    }
    return seen;
  };
  const before = ports();
  world.advance(2_200);
  const after = ports();
  assertEquals([...after].filter((port) => before.has(port)), []);
  // It stays silent: that is no reason to open more and more.
  for (let i = 0; i < 20; i++) {
    world.advance(2_200);
    ports();
  }
  assertLessOrEqual(world.openDescriptors, 16);
  world.advance(11_000);
  world.advance(11_000);
  assertLessOrEqual(world.openDescriptors, 8);
});

Deno.test("dns: an answer that is not one is dropped, and the true one still counts", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver(), stranger = world.openResolver();
  const forwarder = world.start([resolver.endpoint]);
  world.ask(makeQuery(9, "www.example"));
  world.turn();
  const { bytes, peer } = only(resolver.receive());
  const wrong = (change: (answer: Uint8Array) => void) => {
    const answer = makeAnswer(bytes, ECHO);
    change(answer);
    return answer;
  };
  const dropped = [
    wrong((answer) => answer[1]! ^= 1),
    wrong((answer) => answer[2]! ^= 0x80),
    wrong((answer) => answer[2]! ^= 0x28),
    wrong((answer) => answer[13]! ^= 0x20),
    wrong((answer) => answer[bytes.length - 3]! ^= 1),
    wrong((answer) => answer[5] = 2),
    wrong((answer) => answer[5] = 0),
    bytes.slice(0, 12).with(2, 0x81),
    bytes.slice(0, 11),
    new Uint8Array(),
  ];
  for (const answer of dropped) resolver.send(answer, peer);
  // The kernel drops it: the socket is connected to the resolver.
  stranger.send(makeAnswer(bytes), peer);
  world.turn();
  assertEquals([world.replies.length, forwarder.pending, world.count("dnsMismatched")], [
    0,
    1,
    dropped.length,
  ]);
  resolver.send(makeAnswer(bytes), peer);
  // Once is enough.
  resolver.send(makeAnswer(bytes), peer);
  world.turn();
  assertEquals([world.replies.length, world.count("dnsMismatched")], [1, dropped.length + 1]);
});

Deno.test("dns: an answer must come by the socket that its query went by", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  const seen: Datagram[] = [];
  // Until two went by different sockets.
  for (let i = 0; i < 100 && new Set(seen.map(({ peer }) => peer.port)).size < 2; i++) {
    world.ask(makeQuery(i, `n${i}.example`));
    world.turn();
    seen.push(only(resolver.receive()));
  }
  const [first, last] = [seen[0]!, seen.at(-1)!];
  resolver.send(makeAnswer(first.bytes), last.peer);
  world.turn();
  assertEquals([world.replies.length, world.count("dnsMismatched")], [0, 1]);
});

Deno.test("dns: an error may come without the question", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  world.ask(makeQuery(0xabcd, "www.example"));
  world.turn();
  const { bytes, peer } = only(resolver.receive());
  const error = Uint8Array.of(bytes[0]!, bytes[1]!, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0);
  resolver.send(error, peer);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => bytes), [Uint8Array.of(0xab, 0xcd, ...error.slice(2))]);
});

Deno.test("dns: answers of every size pass, the largest that UDP has and a truncated one among them", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  world.start([resolver.endpoint]);
  const query = makeQuery(3, "big.example", { tail: Uint8Array.of(0, 0, 41, 0xff, 0xff, 0, 0, 0, 0, 0, 0) });
  for (const length of [512, 1232, 4096, 65_507]) {
    world.ask(query);
    world.turn();
    const { bytes, peer } = only(resolver.receive());
    const data = new Uint8Array(length - query.length).map((_, i) => i * 31);
    const answer = makeAnswer(bytes, data);
    answer[2]! |= 0x02;
    resolver.send(answer, peer);
    world.turn();
    assertEquals(world.replies.pop()!.bytes.slice(2), answer.slice(2));
  }
});

Deno.test("dns: a long query is passed on, but not sent once more", () => {
  using world = new DnsWorld();
  const first = world.openResolver(), second = world.openResolver();
  world.start([first.endpoint, second.endpoint]);
  const query = makeQuery(5, "long.example", { tail: new Uint8Array(3000).map((_, i) => i) });
  world.ask(query);
  world.turn();
  const { bytes, peer } = only(first.receive());
  assertEquals(bytes.slice(2), query.slice(2));
  world.advance(2_200);
  assertEquals([second.receive().length, world.count("dnsRetries")], [0, 0]);
  first.send(makeAnswer(bytes), peer);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => idOf(bytes)), [5]);
});

Deno.test("dns: a family is no bar between client and resolver", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver("[::1]:0");
  world.start([resolver.endpoint]);
  world.ask(makeQuery(1, "a.example"), "192.0.2.7:4000", "203.0.113.53:53");
  world.ask(makeQuery(2, "b.example"), "[2001:db8::7]:4000", "[2001:db8::53]:53");
  world.turn();
  assertEquals(resolver.answerAll(), 2);
  world.turn();
  assertEquals(world.replies.map(({ client, source }) => [client, source]), [
    ["192.0.2.7:4000", "203.0.113.53:53"],
    ["[2001:db8::7]:4000", "[2001:db8::53]:53"],
  ]);
});

Deno.test("dns: a resolver that does not answer is skipped after 2 s, with everything that waits for it", () => {
  using world = new DnsWorld();
  const first = world.openResolver(), second = world.openResolver();
  const forwarder = world.start([first.endpoint, second.endpoint]);
  world.ask(makeQuery(1, "one.example"));
  world.advance(1_000);
  world.ask(makeQuery(2, "two.example"));
  world.advance(800);
  assertEquals([first.receive().length, second.receive().length], [2, 0]);
  world.advance(400);
  // The second query has waited for 1.2 s only.
  const retried = second.receive();
  assertEquals(
    retried.map(({ bytes }) => bytes.length),
    [makeQuery(1, "one.example"), makeQuery(2, "two.example")]
      .map(({ length }) => length),
  );
  for (const { bytes, peer } of retried) second.send(makeAnswer(bytes), peer);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => idOf(bytes)), [1, 2]);
  assertEquals(world.warnings, [
    `dns-resolver-down: 127.0.0.1:${first.endpoint.port} does not answer`,
  ]);
  // New queries go to the second at once.
  world.ask(makeQuery(3, "three.example"));
  world.turn();
  assertEquals([first.receive().length, second.answerAll()], [0, 1]);
  world.turn();
  assertEquals(world.counts("dnsAnswers", "dnsRetries", "dnsTimeouts"), [3, 2, 1]);
  assertEquals([forwarder.pending, world.replies.length], [0, 3]);
});

Deno.test("dns: a resolver that failed is tried again now and then, and used again once it answers", () => {
  using world = new DnsWorld();
  const first = world.openResolver(), second = world.openResolver();
  world.start([first.endpoint, second.endpoint]);
  let id = 0;
  const askAt = (ms: number) => {
    world.advance(ms);
    world.ask(makeQuery(++id, "n.example"));
    world.turn();
  };
  askAt(0);
  world.advance(2_200);
  assertEquals([first.receive().length, second.answerAll()], [1, 1]);
  askAt(9_000);
  assertEquals([first.receive().length, second.answerAll()], [0, 1]);
  // Not answered: not used, and not asked again for another 10 s.
  askAt(1_500);
  assertEquals([first.receive().length, second.answerAll()], [1, 1]);
  askAt(5_000);
  assertEquals([first.receive().length, second.answerAll()], [0, 1]);
  askAt(5_500);
  const probe = only(first.receive());
  assertEquals(second.answerAll(), 1);
  world.turn();
  // The client has its answer; the probe's is not passed on as well.
  const before = world.replies.length;
  first.send(makeAnswer(probe.bytes), probe.peer);
  world.turn();
  assertEquals([world.replies.length, world.counts("dnsMismatched", "dnsProbes")], [before, [0, 2]]);
  askAt(0);
  assertEquals([first.answerAll(), second.receive().length], [1, 0]);
  world.turn();
  assertEquals(world.count("dnsAnswers"), id);
  assertEquals(world.warnings.length, 1);
});

Deno.test("dns: one slow answer is no reason to skip a resolver that answers others", () => {
  using world = new DnsWorld();
  const first = world.openResolver(), second = world.openResolver();
  world.start([first.endpoint, second.endpoint]);
  world.ask(makeQuery(1, "slow.example"));
  world.turn();
  const slow = only(first.receive());
  world.advance(1_000);
  world.ask(makeQuery(2, "fast.example"));
  world.turn();
  assertEquals(first.answerAll(), 1);
  world.turn();
  world.advance(1_200);
  assertEquals(second.receive().length, 1, "the slow one is put to the second as well");
  world.ask(makeQuery(3, "fast.example"));
  world.turn();
  assertEquals([first.answerAll(), second.receive().length], [1, 0]);
  // The first answer counts, also a late one.
  first.send(makeAnswer(slow.bytes), slow.peer);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => idOf(bytes)).sort(), [1, 2, 3]);
  assertEquals(world.warnings, []);
});

Deno.test("dns: a resolver that refuses is skipped at once", () => {
  using world = new DnsWorld();
  const gone = world.openResolver(), second = world.openResolver();
  gone.stop();
  world.start([gone.endpoint, second.endpoint]);
  world.ask(makeQuery(1, "a.example"));
  world.ask(makeQuery(2, "b.example"));
  world.turn();
  world.turn();
  assertEquals(second.answerAll(), 2);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => idOf(bytes)), [1, 2]);
  assertEquals(world.warnings, [
    `dns-resolver-down: 127.0.0.1:${gone.endpoint.port} cannot be asked: ECONNREFUSED`,
  ]);
  assertGreater(world.count("dnsRefused"), 0);
});

Deno.test("dns: a resolver that there is no way to is skipped at once", () => {
  using world = new DnsWorld();
  const second = world.openResolver();
  // Broadcast: connect answers EACCES without SO_BROADCAST.
  world.start([parseEndpoint("255.255.255.255:53")!, second.endpoint]);
  world.ask(makeQuery(1, "a.example"));
  world.turn();
  assertEquals(second.answerAll(), 1);
  world.turn();
  assertEquals(world.replies.length, 1);
});

Deno.test("dns: when all have failed the client gets nothing, and the only resolver may still answer late", () => {
  using world = new DnsWorld();
  const first = world.openResolver(), second = world.openResolver();
  const forwarder = world.start([first.endpoint, second.endpoint]);
  world.ask(makeQuery(1, "a.example"));
  world.advance(2_200);
  world.advance(2_200);
  assertEquals([first.receive().length, second.receive().length, world.replies.length], [1, 1, 0]);
  world.advance(11_000);
  assertEquals([forwarder.pending, world.count("dnsUnanswered")], [0, 1]);
  // Both are down: the one that failed first is asked, and its answer is taken after 5 s too.
  world.ask(makeQuery(2, "b.example"));
  world.turn();
  const { bytes, peer } = only(first.receive());
  second.receive();
  world.advance(2_200);
  world.advance(3_000);
  first.send(makeAnswer(bytes), peer);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => idOf(bytes)), [2]);
});

Deno.test("dns: more queries than can wait push out the oldest, and those that are left are answered", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver(), idle = world.openResolver();
  const forwarder = world.start([resolver.endpoint, idle.endpoint]);
  const extra = 100;
  let received = 0;
  const last: Datagram[] = [];
  for (let i = 0; i < MAX_TRANSACTIONS + extra; i++) {
    world.ask(makeQuery(i & 0xffff, "a.example"), `192.0.2.${i % 200}:${1 + i % 60_000}`);
    if (i % 32 !== 31) continue;
    world.turn();
    const queries = resolver.receive();
    received += queries.length;
    if (i > MAX_TRANSACTIONS) last.push(...queries);
  }
  world.turn();
  assertEquals(received + resolver.receive().length, MAX_TRANSACTIONS + extra);
  assertEquals([forwarder.pending, world.count("dnsEvicted")], [MAX_TRANSACTIONS, extra]);
  assertGreater(last.length, 0);
  for (const { bytes, peer } of last) resolver.send(makeAnswer(bytes), peer);
  world.turn();
  assertEquals(world.replies.length, last.length);
  assertEquals(new Set(world.warnings), new Set([`dns-limit: ${MAX_TRANSACTIONS} queries wait for answers`]));
  // All of them once more, to the second: each makes room for itself by giving up an older one.
  world.advance(2_200);
  assertEquals(forwarder.pending, world.count("dnsQueries") - world.count("dnsEvicted") - last.length);
  world.advance(11_000);
  world.advance(11_000);
  assertEquals(forwarder.pending, 0);
  const { dnsQueries, dnsAnswers, dnsEvicted, dnsUnanswered } = Object.fromEntries(
    (["dnsQueries", "dnsAnswers", "dnsEvicted", "dnsUnanswered"] as const).map((
      name,
    ) => [name, world.count(name)]),
  );
  assertEquals(dnsQueries, dnsAnswers! + dnsEvicted! + dnsUnanswered!);
});

Deno.test("dns: a client that asks what nobody answers pushes out its own queries, not those of others", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  const forwarder = world.start([resolver.endpoint]);
  const clients = Array.from({ length: 20 }, (_, i) => `198.51.100.${1 + i}:4000`);
  for (const client of clients) world.ask(makeQuery(1, "a.example"), client);
  world.turn();
  const waiting = resolver.receive();
  for (let i = 0; i < MAX_TRANSACTIONS + 100; i++) {
    world.ask(makeQuery(i & 0xffff, "b.example"), `192.0.2.7:${1 + i % 60_000}`);
    if (i % 32 !== 31) continue;
    world.turn();
    resolver.receive();
  }
  for (const { bytes, peer } of waiting) resolver.send(makeAnswer(bytes), peer);
  world.turn();
  // Whoever has the same share by chance, one in thousands, is pushed out too.
  assertGreater(world.replies.length, clients.length - 3);
  assertLessOrEqual(forwarder.pending, MAX_TRANSACTIONS_OF_A_CLIENT);
  assertEquals(new Set(world.warnings), new Set(["dns-limit: 4096 queries of one client wait for answers"]));
});

Deno.test("dns: what is no query is dropped", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  const forwarder = world.start([resolver.endpoint]);
  const query = makeQuery(1, "www.example");
  const malformed = [
    new Uint8Array(),
    query.slice(0, 11),
    makeAnswer(query),
    query.slice(0, 20),
    query.slice(0, query.length - 1),
    query.with(12, 0xc0),
    query.with(12, 64),
    query.with(4, 0xff),
    makeQuery(1, Array(20).fill("a".repeat(63)).join(".")),
  ];
  for (const bytes of malformed) world.ask(bytes);
  world.turn();
  assertEquals([resolver.receive().length, forwarder.pending], [0, 0]);
  assertEquals(world.count("dnsMalformed"), malformed.length);
  // A header alone is a query (RFC 7873, section 5.4), and two questions are the resolver's business.
  world.ask(query.slice(0, 12).with(5, 0));
  world.ask(Uint8Array.of(...query.with(5, 2), ...query.slice(12)));
  world.turn();
  assertEquals(resolver.answerAll(), 2);
  world.turn();
  assertEquals(world.replies.length, 2);
});

Deno.test("dns: without a descriptor a query is dropped, and no resolver blamed", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  const forwarder = world.start([resolver.endpoint]);
  world.socketError = EMFILE;
  world.ask(makeQuery(1, "a.example"));
  world.turn();
  assertEquals([forwarder.pending, world.counts("dnsQueries", "dnsSendDrops", "dnsRefused")], [0, [0, 1, 0]]);
  assertEquals(world.warnings, ["dns-fds-exhausted: socket: EMFILE"]);
  world.socketError = 0;
  world.ask(makeQuery(2, "a.example"));
  world.turn();
  assertEquals(resolver.answerAll(), 1);
  world.turn();
  assertEquals(world.replies.length, 1);
});

Deno.test("dns: a client that repeats itself has each of its queries answered", () => {
  using world = new DnsWorld();
  const resolver = world.openResolver();
  const forwarder = world.start([resolver.endpoint]);
  for (let i = 0; i < 3; i++) world.ask(makeQuery(1, "a.example"));
  assertEquals(forwarder.pending, 3);
  world.turn();
  assertEquals(resolver.answerAll(), 3);
  world.turn();
  assertEquals(world.replies.map(({ bytes }) => idOf(bytes)), [1, 1, 1]);
});

Deno.test("dns: one resolver at least, and no more than a query can remember", () => {
  using world = new DnsWorld();
  const endpoint = parseEndpoint("192.0.2.53:53")!;
  assertThrows(() => world.start([]), RangeError, "0 found");
  assertThrows(() => world.start(Array(31).fill(endpoint)), RangeError, "31 found");
  assert(world.openDescriptors <= 1);
});
