import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { FIRST_OF_FLOW, type Packet } from "../nft/packet.ts";
import { fateBetween, fateCommand, guardCommand, labelCommand, readFateCounts } from "./guard.ts";

const PACKET: Packet = {
  family: 6,
  protocol: "tcp",
  source: "2001:db8::7",
  sourcePort: 5555,
  destination: "2001:db8:1::1",
  destinationPort: 443,
  tcpFirst: true,
  dontFragment: false,
  way: { kind: "arriving", interface: "lan0", mac: "" },
  mark: 0x10,
  flow: FIRST_OF_FLOW,
  socket: null,
};

Deno.test("readFateCounts: nft's listing and iptables-save's", () => {
  const nft = [
    '\t\toifname != "lo" ip6 saddr 2001:db8::7 counter packets 3 bytes 180 comment "left"',
    '\t\tip6 saddr 2001:db8::7 counter packets 1 bytes 60 drop comment "delivered"',
  ].join("\n");
  assertEquals(readFateCounts(nft), { delivered: 1, left: 3 });
  const iptables = [
    ":INPUT ACCEPT [9:900]",
    "[2:120] -A INPUT -s 2001:db8::7/128 -m comment --comment delivered -j DROP",
    "[0:0] -A POSTROUTING ! -o lo -s 2001:db8::7/128 -m comment --comment left -j ACCEPT",
  ].join("\n");
  assertEquals(readFateCounts(iptables), { delivered: 2, left: 0 });
});

Deno.test("fateBetween: only what came since counts", () => {
  const before = { delivered: 1, left: 2 };
  assertEquals(fateBetween(before, { delivered: 2, left: 2 }), "delivered");
  assertEquals(fateBetween(before, { delivered: 1, left: 3 }), "left");
  assertEquals(fateBetween(before, before), "lost");
});

Deno.test("guard: each tool's own program, of the packet's family", () => {
  assertEquals(guardCommand(PACKET, "nft", true).argv, ["nft", "-f", "-"]);
  assertStringIncludes(guardCommand(PACKET, "nft", true).stdin, "ct state invalid");
  assertEquals(guardCommand(PACKET, "iptables-legacy", false).argv[0], "ip6tables-legacy-restore");
  assertEquals(fateCommand(PACKET, "iptables"), ["ip6tables-nft-save", "-c"]);
  assertStringIncludes(labelCommand(PACKET, "iptables").stdin, "--set-mark 0x10");
  assertStringIncludes(labelCommand(PACKET, "iptables").stdin, "-j TRACE");
  assertEquals(labelCommand(PACKET, "iptables-legacy").stdin.includes("TRACE"), false);
  const sent: Packet = { ...PACKET, way: { kind: "sent", interface: "lan0", owner: null } };
  assertEquals(labelCommand(sent, "nft").stdin.includes("mark set"), false);
});
