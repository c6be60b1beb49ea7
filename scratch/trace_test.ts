import { assertEquals } from "../tests/assert.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { buildPlan } from "../nft/build_plan.ts";
import { ruleComment } from "../nft/check_plan.ts";
import { readTrace } from "./trace.ts";

const PLAN = buildPlan(intentWith({ from: ["lan0"] }));
const TAKE = PLAN.chains.find(({ name }) => name === "tcp_in_take")!.rules[0]!;

Deno.test("readTrace: the plan's rules in the order in which nft tells of them, and no others", () => {
  const lines = [
    'trace id 8fa48c6c inet scratch_guard pre packet: iif "lan0" ip saddr 198.51.100.7 tcp dport 443',
    "trace id 8fa48c6c inet scratch_guard pre rule ip saddr 198.51.100.7 meta nftrace set 1 (verdict continue)",
    "trace id 8fa48c6c inet pellucid tproxy_in rule tcp flags & (fin | syn | rst | ack) == syn counter packets 0 " +
    'bytes 0 goto tcp_in_new comment "new: a new connection" (verdict goto tcp_in_new)',
    "trace id 8fa48c6c inet pellucid tcp_in_take rule meta l4proto tcp counter packets 0 bytes 0 tproxy to :7870 " +
    `accept comment "${ruleComment(TAKE)}" (verdict accept)`,
    'trace id 8fa48c6c inet other tproxy_in rule accept comment "mine: not of the plan" (verdict accept)',
  ];
  assertEquals(readTrace(lines, PLAN), [
    { chain: "tproxy_in", rule: "new" },
    { chain: "tcp_in_take", rule: "take" },
  ]);
});

Deno.test("readTrace: iptables chains have the table's name in front, and a body for some interfaces", () => {
  const lines = [
    "PACKET: 2 af0799cb IN=lan0 SRC=198.51.100.7 DST=192.0.2.1 LEN=40 TTL=64 ",
    " TRACE: 2 af0799cb raw:PREROUTING:rule:0x2:CONTINUE  -4 -t raw -A PREROUTING -s 198.51.100.7/32 -j TRACE",
    " TRACE: 2 af0799cb mangle:pellucid_tproxy_in_i:rule:0x4:GOTO:pellucid_tcp_in_new  -4 -t mangle -A " +
    'pellucid_tproxy_in_i -p tcp -m comment --comment "new: a new connection" -g pellucid_tcp_in_new',
    " TRACE: 2 af0799cb mangle:pellucid_tcp_in_take:rule:0x2:ACCEPT  -4 -t mangle -A pellucid_tcp_in_take -p tcp " +
    `-m comment --comment "${ruleComment(TAKE)}" -j TPROXY --on-port 7870`,
    " TRACE: 2 af0799cb mangle:PREROUTING:policy:ACCEPT ",
  ];
  assertEquals(readTrace(lines, PLAN), [
    { chain: "tproxy_in", rule: "new" },
    { chain: "tcp_in_take", rule: "take" },
  ]);
});
