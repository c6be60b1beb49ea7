import { assert, assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { examine } from "./examine.ts";
import { hostWith, namesOf, subjectOf, unwell } from "../tests/doctor_world.ts";
import { renderText, reportOf } from "./report.ts";

Deno.test("examine: on a host where all is well there is nothing to say", async () => {
  assertEquals(await unwell({}), []);
  assertEquals(await unwell({}, subjectOf({ local: true, source: "keep", tcp: "redirect" })), []);
  assertEquals(await unwell({}, subjectOf({ from: [] })), []);
});

Deno.test("examine: what was looked at is told, each thing under an id of its own", async () => {
  const findings = await examine(subjectOf(), hostWith({}));
  const ids = findings.map(({ id }) => id);
  assertEquals(ids.length, new Set(ids).size);
  assert(ids.length > 40, `${ids.length}`);
});

Deno.test("examine: asks the host nothing that changes it", async () => {
  const host = hostWith({});
  await examine(subjectOf(), host);
  const changing = host.ran.filter((words) =>
    !/^(unshare -nm|ip -j -d addr show|ip -N -d -j -[46] (rule|route) list.*|nft -s -t list ruleset|ethtool -k \w+|ip6?tables(-nft|-legacy)?-save.*)$/
      .test(words)
  );
  assertEquals(changing, []);
});

Deno.test("examine: what could not be read is said, and nothing found there is not called fine", async () => {
  const denied = { code: 1, stdout: "", stderr: "Operation not permitted (you must be root)\n" };
  const findings = await examine(
    subjectOf(),
    hostWith({
      commands: { "nft -s -t list ruleset": denied },
      files: { "/proc/self/status": "CapEff:\t0000000000000000\n" },
    }),
  );
  const read = findings.find(({ id }) => id === "firewalls.read")!;
  assertEquals([read.severity, read.mend], ["warning", "sudo pellucid doctor"]);
  assertStringIncludes(read.found, "rules of nft (Operation not permitted");
  assertEquals(findings.filter(({ id }) => id === "numbers.marks" || id === "firewalls.input"), []);
});

Deno.test("report: the worst first in each group, fine ones counted, and a verdict", async () => {
  const changes = { sysctls: { "net/ipv4/tcp_syncookies": "2", "net/ipv4/conf/all/rp_filter": "1" } };
  const report = reportOf(await examine(subjectOf(), hostWith(changes)));
  assertEquals([report.schema, report.healthy, report.counts.error, report.counts.info], [1, false, 1, 1]);
  const settings = report.findings.filter(({ group }) => group === "settings");
  assertEquals(namesOf(settings).slice(0, 2), ["error settings.syn-cookies", "info settings.rp-filter"]);
  const text = renderText(report);
  assertStringIncludes(text.join("\n"), "mend:   sysctl -w net.ipv4.tcp_syncookies=1");
  assert(!text.some((line) => line.includes("settings.forwarding-4")), text.join("\n"));
  assertStringIncludes(text.at(-1)!, "will not do as it is: 1 error, 0 warnings, 1 note,");
});
