import { archOf, MSG_PEEK, Reactor, SHUT_WR, type Syscalls } from "../ffi/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { directRouting } from "../tests/direct_routing.ts";
import { tcpCounters } from "../tests/tcp_counters.ts";
import { makeCarrier } from "./carrier.ts";
import { Connection } from "./connection.ts";
import type { ConnectionEnd } from "../flow/connection_end.ts";
import { TcpContext } from "./worker_context.ts";

const MSG_OOB = 0x1;
const CHUNK = 50_000;

Deno.test("urgent data: a mark that passes while bytes are spliced costs no byte", () => {
  using loopback = new Loopback();
  const { sys: real, arena } = loopback;
  const [sender, client] = loopback.connectedPair();
  const [upstream, receiver] = loopback.connectedPair();
  const buffer = arena.allocate(CHUNK);
  let sent = "", received = "", marked = false, turns = 0;
  const send = (letter: string, times: number, flags: number) => {
    buffer.bytes.fill(letter.charCodeAt(0), 0, times);
    sent += letter.repeat(Math.max(0, real.send(sender, buffer.pointer, times, flags)));
  };
  const receive = () => {
    for (;;) {
      const n = real.recv(receiver, buffer.pointer, CHUNK, 0);
      if (n <= 0) return n;
      received += new TextDecoder().decode(buffer.bytes.subarray(0, n));
    }
  };
  const sys: Syscalls = {
    ...real,
    // The loopback closes all sockets in the end.
    close: (fd) => fd === client || fd === upstream ? real.shutdown(fd, SHUT_WR) : real.close(fd),
    // After the last look at the events, and when all that was there before the mark has been fetched.
    splice: (from, to, length, flags) => {
      if (from === client && !marked && real.recv(client, buffer.pointer, 1, MSG_PEEK) < 0) {
        marked = true;
        send("!", 1, MSG_OOB);
        send("b", CHUNK, 0);
        // With the end of stream behind it, a splice answers 0 at the mark.
        real.shutdown(sender, SHUT_WR);
      }
      return real.splice(from, to, length, flags);
    },
    epoll_wait: (...args) => {
      assert(++turns < 10_000, "a loop without end");
      if (!marked && turns <= 20) send("a", CHUNK, 0);
      if (receive() === 0) real.shutdown(receiver, SHUT_WR);
      return real.epoll_wait(...args);
    },
  };
  const reactor = new Reactor(sys, arena, archOf());
  const ends: ConnectionEnd[] = [];
  const counters = tcpCounters();
  const carrier = makeCarrier(sys, arena, counters, 4);
  const context = new TcpContext({
    sys,
    arena,
    reactor,
    resolvers: [],
    routing: directRouting(),
    settings: {
      mode: "redirect",
      port: 1,
      ownPorts: [1],
      direction: undefined,
      dns: true,
      source: "own",
      listenerMark: 0,
      dialMark: 0,
      maxConnections: 1,
      maxConnectionsPerClient: 0,
      connectTimeoutMs: 5000,
      idleTimeoutMs: 5000,
      halfClosedTimeoutMs: 5000,
      keepaliveSeconds: 0,
      userTimeoutMs: 0,
    },
    carrier,
    counters,
    openConnections: new Int32Array(1),
    clientLimit: undefined,
    onFlow: (_client, _destination, _local, _up, _down, _ms, end) => ends.push(end),
    onWarning: () => {},
  });
  const addresses = { client: new Uint8Array(28), destination: new Uint8Array(28) };
  const owner = { onConnectionEnd: () => reactor.stop() };
  new Connection(context, owner, client, upstream, -1, addresses, false, reactor.now, undefined).start();
  reactor.run();
  receive();
  assertEquals([marked, ends], [true, [{ reason: "closed", side: "client" }]]);
  assertEquals(received.length, sent.length);
  assert(received === sent, "bytes are out of order");
  carrier.pipes.close();
  reactor.close();
});
