import { archOf, encodeSockaddr, Reactor, sockaddrPort } from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { directRouting } from "../tests/direct_routing.ts";
import { tcpCounters } from "../tests/tcp_counters.ts";
import { makeCarrier } from "./carrier.ts";
import { isOwnListener } from "./original_destination.ts";
import { TcpContext } from "./worker_context.ts";

Deno.test("isOwnListener: a port of any listener of ours, at an address of this host's", () => {
  using loopback = new Loopback();
  const { sys, arena } = loopback;
  const counters = tcpCounters();
  const context = new TcpContext({
    sys,
    arena,
    reactor: new Reactor(sys, arena, archOf()),
    settings: {
      mode: "redirect",
      port: 15_006,
      ownPorts: [15_001, 15_006, 15_053],
      direction: "inbound",
      dns: false,
      source: "own",
      listenerMark: 0,
      dialMark: 0,
      maxConnections: 1,
      maxConnectionsPerClient: 0,
      connectTimeoutMs: 0,
      idleTimeoutMs: 0,
      halfClosedTimeoutMs: 0,
      keepaliveSeconds: 0,
      userTimeoutMs: 0,
    },
    carrier: makeCarrier(sys, arena, counters, 0),
    resolvers: [],
    routing: directRouting(),
    counters,
    openConnections: new Int32Array(1),
    clientLimit: undefined,
    onFlow: undefined,
    onWarning: () => {},
  });
  for (
    const [destination, wanted] of [
      ["127.0.0.1:15001", true],
      ["127.0.0.1:15006", true],
      ["127.0.0.1:15053", true],
      ["127.0.0.1:15007", false],
      // Another host's.
      ["203.0.113.1:15006", false],
    ] as const
  ) {
    encodeSockaddr(parseEndpoint(destination)!, context.destination.bytes);
    assertEquals(isOwnListener(context), wanted, destination);
    assertEquals(sockaddrPort(context.destination.bytes), parseEndpoint(destination)!.port);
  }
  context.reactor.close();
});
