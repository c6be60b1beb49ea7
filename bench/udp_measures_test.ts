import { assertEquals, assertThrows } from "../tests/assert.ts";
import { parseDnsperf, UDP_MEASURES } from "./udp_measures.ts";

/** As dnsperf 2.10 ends. */
function printed(codes: string, completed: number): string {
  return `Statistics:

  Queries sent:         12005
  Queries completed:    ${completed} (99.96%)
  Queries lost:         5 (0.04%)

  Response codes:       ${codes}
  Average packet size:  request 37, response 53
  Run time (s):         1.003200
  Queries per second:   11961.722488
`;
}

Deno.test("parseDnsperf: rate, loss and count", () => {
  assertEquals(parseDnsperf(printed("NOERROR 12000 (100.00%)", 12_000)), {
    completed: 12_000,
    perSecond: 11_961.722488,
    lossPercent: 0.04,
  });
});

Deno.test("parseDnsperf: an answer that is an error is no answer; nothing printed is no figure", () => {
  const mixed = printed("NOERROR 11999 (99.99%), SERVFAIL 1 (0.01%)", 12_000);
  assertThrows(() => parseDnsperf(mixed), Error, "1 answers were errors");
  assertThrows(() => parseDnsperf(printed("SERVFAIL 12000 (100.00%)", 12_000)), Error);
  assertThrows(() => parseDnsperf(""), Error, "Queries completed");
});

Deno.test("UDP_MEASURES: names and row heads are unique", () => {
  const names = UDP_MEASURES.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
  const titles = UDP_MEASURES.flatMap(({ metrics }) => metrics.map(({ title }) => title));
  assertEquals(titles.filter((title, index) => titles.indexOf(title) !== index), []);
});
