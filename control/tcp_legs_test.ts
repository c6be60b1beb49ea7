import { DEFAULT_SIDECAR, defaultRunConfig, type RunConfig, sidecarRunConfig } from "../config/mod.ts";
import { DEFAULT_KERNEL_NUMBERS } from "../nft/intent.ts";
import { assertEquals } from "../tests/assert.ts";
import { tcpLegs } from "./tcp_legs.ts";
import { NO_MARKS } from "./worker_configs.ts";

const { marks } = DEFAULT_KERNEL_NUMBERS;
const { bypass, reply } = marks;
const DNS = { port: 15_053, servers: "all" as const };

function legs(change: Partial<RunConfig>, socketMarks = marks as typeof NO_MARKS) {
  return tcpLegs({ ...sidecarRunConfig(), ...change }, socketMarks);
}

Deno.test("tcpLegs: a gateway has one listener, of no direction, that resolvers may answer for", () => {
  assertEquals(tcpLegs({ ...defaultRunConfig(), port: 9000, source: "keep" }, marks), [{
    mode: "tproxy",
    port: 9000,
    ownPorts: [9000],
    direction: undefined,
    dns: true,
    source: "keep",
    listenerMark: 0,
    dialMark: bypass,
  }]);
  assertEquals(tcpLegs({ ...defaultRunConfig(), tcp: "off" }, marks), []);
});

Deno.test("tcpLegs: a sidecar's sides know each other's ports, and differ in their marks", () => {
  const sidecar = { ...DEFAULT_SIDECAR, dns: DNS };
  assertEquals(
    legs({ sidecar }).map(({ port, direction, dns, dialMark }) => [port, direction, dns, dialMark]),
    [
      [15_001, "outbound", false, reply],
      [15_006, "inbound", false, bypass],
      [15_053, "outbound", true, bypass],
    ],
  );
  for (const { ownPorts, mode, source, listenerMark } of legs({ sidecar })) {
    assertEquals([ownPorts, mode, source, listenerMark], [[15_001, 15_006, 15_053], "redirect", "own", 0]);
  }
});

Deno.test("tcpLegs: clients' addresses are kept inbound, where the listener's mark keeps theirs off it", () => {
  const kept = legs({ source: "keep", sidecar: { ...DEFAULT_SIDECAR, inbound: "tproxy" } });
  assertEquals(kept.map(({ mode, source, listenerMark }) => [mode, source, listenerMark]), [
    ["redirect", "own", 0],
    ["tproxy", "keepAddress", reply],
  ]);
});

Deno.test("tcpLegs: without marks, inbound connections are known by where they come from", () => {
  const [outbound, inbound] = legs({}, NO_MARKS);
  assertEquals([outbound!.source, outbound!.dialMark, inbound!.dialMark], ["own", 0, 0]);
  const { source } = inbound!;
  assertEquals(typeof source === "string" ? source : [source[4].text, source[6].text], ["127.0.0.6", "::6"]);
});

Deno.test("tcpLegs: what is off has no listener", () => {
  assertEquals(legs({ tcp: "off" }).map(({ port }) => port), [15_006]);
  assertEquals(legs({ sidecar: { ...DEFAULT_SIDECAR, inbound: "off" } }).map(({ port }) => port), [15_001]);
});
