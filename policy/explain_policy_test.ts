import { type Endpoint, parseAddress } from "../net/mod.ts";
import { assertEquals } from "../tests/assert.ts";
import { type AskedFlow, explainPolicy, NO_FILTERS, type PolicyRule } from "./mod.ts";

const ANYTHING: PolicyRule = {
  ...NO_FILTERS,
  to: 0,
};
const endpoint = (address: string, port: number): Endpoint => ({ address: parseAddress(address)!, port });
const FLOW: AskedFlow = {
  network: "tcp",
  source: endpoint("192.0.2.1", 40_000),
  destination: endpoint("203.0.113.7", 443),
  interface: 2,
  uid: undefined,
  dscp: 0,
};

Deno.test("explainPolicy: what keeps each rule before from deciding, and what the deciding one names", () => {
  const rules: PolicyRule[] = [
    { ...ANYTHING, network: "udp" },
    { ...ANYTHING, destinations: ["198.51.100.0/24", "2001:db8::/32"] },
    { ...ANYTHING, destinations: ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"] },
    { ...ANYTHING, destinationPorts: [{ first: 80, last: 80 }, { first: 8000, last: 8099 }] },
    { ...ANYTHING, sources: [] },
    { ...ANYTHING, uids: [{ first: 1000, last: 1999 }] },
    { ...ANYTHING, interfaces: [3, 4] },
    {
      ...ANYTHING,
      network: "tcp",
      destinations: ["203.0.113.0/24", "203.0.113.0/28", "0.0.0.0/0"],
      destinationPorts: [{ first: 1, last: 1023 }],
      interfaces: [2],
      to: 5,
    },
    ANYTHING,
  ];
  assertEquals(explainPolicy(rules, FLOW), {
    rule: 7,
    route: 5,
    because: "is tcp, destination 203.0.113.7 is in 203.0.113.0/28, destination port 443 is in 1-1023, " +
      "incoming interface is 2",
    notBefore: [
      "it is tcp, the rule is about udp",
      "destination 203.0.113.7 is not in 198.51.100.0/24, 2001:db8::/32",
      "destination 203.0.113.7 is not in 5 prefixes",
      "destination port 443 is not in 80, 8000-8099",
      "source 192.0.2.1 is not in an empty list",
      "its user is not known, 1000-1999 wanted",
      "incoming interface is 2, 3, 4 wanted",
    ],
  });
  const named = explainPolicy(
    [{ ...ANYTHING, interfaces: [3] }, { ...ANYTHING, interfaces: [2] }],
    FLOW,
    (i) => `lan${i}`,
  );
  assertEquals([named.because, ...named.notBefore], [
    "incoming interface is lan2",
    "incoming interface is lan2, lan3 wanted",
  ]);
  assertEquals(explainPolicy([ANYTHING], FLOW).because, "it is about every flow");
  assertEquals(explainPolicy(rules.slice(0, 1), FLOW).rule, undefined);
});
