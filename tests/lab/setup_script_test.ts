import { assertEquals, assertStringIncludes, assertThrows } from "../assert.ts";
import { renderSetupScript } from "./setup_script.ts";
import { gatewayTopology } from "./topology.ts";

Deno.test("renderSetupScript: sysctls before links, links before addresses, ready last", () => {
  const script = renderSetupScript(gatewayTopology({ clientMtu: 1280 }));
  const marks = [
    "netns add gateway",
    "net/ipv4/ip_forward",
    "link add eth0",
    "addr add 192.0.2.1/24 dev lan0",
    "lab ready",
  ];
  const positions = marks.map((mark) => script.indexOf(mark));
  assertEquals(positions, positions.toSorted((a, b) => a - b));
  assertEquals(positions.includes(-1), false);
  assertStringIncludes(
    script,
    "link add eth0 index 10 netns client mtu 1280 type veth peer name lan0 index 11",
  );
});

Deno.test("renderSetupScript: nothing reaches the shell that could be more than a word", () => {
  for (const name of ["a b", "$(reboot)", "a\nEND\nreboot", "-x", ""]) {
    assertThrows(() => renderSetupScript({ hosts: { [name]: {} }, links: [] }), TypeError, "unusable word");
  }
});
