import { assert, assertEquals, assertLessOrEqual } from "../tests/assert.ts";
import type { Observation } from "./judge.ts";
import { renderPicture } from "./picture.ts";
import { SECTIONS } from "./sections.ts";
import { ADDRESSES, FAMILIES } from "./stage.ts";
import {
  formatBytes,
  formatRate,
  paint,
  renderCleanup,
  renderColumnHeads,
  renderFlow,
  renderSummary,
  WIDTH,
} from "./table.ts";
import { destinationOf, endpointText } from "./traffic.ts";

const PLAIN = paint(false);

function widest(): Observation {
  const client = endpointText(ADDRESSES.client.v6, 65535);
  const local = endpointText(ADDRESSES.gatewayOutside.v6, 65535);
  const dialled = endpointText(ADDRESSES.internet.v6, 80);
  return {
    protocol: "tcp",
    dialled,
    ends: {
      client,
      peer: local,
      bytesUp: 555_500_000,
      bytesDown: 0,
      durationMs: 50,
      checksums: [],
      problems: [],
    },
    flow: {
      proto: "tcp",
      client,
      destination: dialled,
      local,
      bytesUp: 555_500_000,
      bytesDown: 0,
      durationMs: 50,
      end: { reason: "closed", side: "client" },
    },
  };
}

Deno.test("a row: the ends' line and the proxy's have the same columns", () => {
  assertEquals(renderFlow("refused v6", widest(), [], PLAIN), [
    "refused v6 [2001:db8:1::2]:65535 -> [2001:db8:100::10]:80 [2001:db8:ffff::1]:65535  556 MB 88.9 Gbit/s ok",
    "  proxy    [2001:db8:1::2]:65535 -> [2001:db8:100::10]:80 [2001:db8:ffff::1]:65535  556 MB",
  ]);
  assertEquals(
    renderColumnHeads("tcp"),
    "           client                   dialled               server's peer              bytes       rate",
  );
});

Deno.test("a row of UDP: datagrams up and down in place of the rate, and what the client heard", () => {
  const { ends, flow, ...seen } = widest();
  const lines = renderFlow(
    "cone v6",
    {
      ...seen,
      protocol: "udp",
      dialled: endpointText(ADDRESSES.internet.v6, 3478),
      ends: { ...ends, datagrams: { up: 1, down: 2 }, heard: "something" },
      flow: {
        ...flow!,
        destination: endpointText(ADDRESSES.internet.v6, 3478),
        datagramsUp: 1,
        datagramsDown: 3,
      },
    },
    [],
    PLAIN,
  );
  assertEquals(lines, [
    "cone v6    [2001:db8:1::2]:65535 -> [2001:db8:100::10]:3478 [2001:db8:ffff::1]:65535  556 MB     1 + 2 ok",
    "  proxy    [2001:db8:1::2]:65535 -> [2001:db8:100::10]:3478 [2001:db8:ffff::1]:65535  556 MB     1 + 3",
    "  heard    something",
  ]);
  assert(renderColumnHeads("udp").endsWith(" bytes datagrams"));
});

Deno.test("a row without a proxy has one line, one without a server says so", () => {
  const { ends, ...seen } = widest();
  const lines = renderFlow(
    "x",
    { ...seen, flow: undefined, ends: { ...ends, peer: undefined } },
    [],
    PLAIN,
  );
  assertEquals(lines.length, 1);
  assert(lines[0]!.includes(" nobody "));
});

Deno.test("a row that is wrong says FAILED and why, within the width", () => {
  const wrong = ["short", `long: ${"word ".repeat(40)}`, "x".repeat(300)];
  const lines = renderFlow("refused v6", widest(), wrong, PLAIN);
  assert(lines[0]!.endsWith(" FAILED"));
  assertEquals(lines[2], "    short");
  assertEquals(lines.slice(2).join("").replaceAll(" ", ""), wrong.join("").replaceAll(" ", ""));
  for (const line of lines) assertLessOrEqual(line.length, WIDTH, line);
});

Deno.test("the line about the kernel: then and now", () => {
  const before = { "nft tables": [], "ip rules": ["a"], "ip routes": [] };
  const during = { "nft tables": ["t"], "ip rules": ["a", "b", "c"], "ip routes": ["r"] };
  const [line, problem, ...rest] = renderCleanup(before, during, { ...before, "ip rules": ["a", "b"] }, [
    "left",
  ], PLAIN);
  assert(
    line!.startsWith(
      "stopped    in the kernel, while it ran -> now: nft tables 1 -> 0, ip rules 2 -> 1, ip routes 1 -> 0 ",
    ),
  );
  assert(line!.endsWith(" FAILED"));
  assertEquals([problem, rest], ["    left", []]);
  assertLessOrEqual(line!.length, WIDTH);
});

Deno.test("everything else fits the width too, and every name its column", () => {
  for (const line of [...renderPicture(), ...SECTIONS.map(({ title }) => title)]) {
    assertLessOrEqual(line.length, WIDTH, line);
  }
  for (const traffic of SECTIONS.flatMap((section) => section.traffic)) {
    assertLessOrEqual(traffic.name.length, 7);
    const widest = traffic.protocol === "tcp" ? 21 : 23;
    for (const family of FAMILIES) assertLessOrEqual(destinationOf(traffic, family).length, widest);
  }
});

Deno.test("the summary and its colours", () => {
  assertEquals(renderSummary(23, 23, PLAIN), "23 of 23 checks right");
  assertEquals(renderSummary(23, 23, paint(true)), "\x1b[32m23 of 23 checks right\x1b[0m");
  assertEquals(renderSummary(22, 23, paint(true)), "\x1b[31m22 of 23 checks right\x1b[0m");
});

Deno.test("formatBytes and formatRate: at most four digits", () => {
  const bytes: [number, string][] = [
    [0, "0 B"],
    [97, "97 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [99_940, "99.9 kB"],
    [99_960, "100 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [20_000_173, "20.0 MB"],
    [64_000_000, "64.0 MB"],
  ];
  for (const [value, text] of bytes) assertEquals(formatBytes(value), text, `${value}`);
  assertEquals(formatRate(125_000_000, 1000), "1.0 Gbit/s");
  assertEquals(formatRate(64_000_000, 152), "3.4 Gbit/s");
  assertEquals(formatRate(20_000_000, 250), "640 Mbit/s");
  assertEquals(formatRate(1, 0), "");
});
