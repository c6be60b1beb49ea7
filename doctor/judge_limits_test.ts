import { assert, assertEquals } from "../tests/assert.ts";
import { sidecarRunConfig } from "../config/mod.ts";
import { type Changes, hostWith, namesOf, subjectOf, unwell } from "../tests/doctor_world.ts";
import { readHostFacts } from "./host_facts.ts";
import { judgeLimits, neededFds } from "./judge_limits.ts";

const limits = (hard: string) => ({
  "/proc/self/limits": `Max open files            1024                 ${hard}                files\n`,
});
const conntrack = (values: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [`net/netfilter/nf_conntrack_${name}`, value]),
  );

Deno.test("limits: each is named by its id, with the command that mends it", async () => {
  const cases: [Changes, string, string][] = [
    [{ files: limits("20000") }, "warning limits.nofile", "prlimit --pid $$ --nofile=262144:262144"],
    [{ sysctls: { "fs/nr_open": "65536" } }, "warning limits.nr-open", "sysctl -w fs.nr_open=262144"],
    [
      { sysctls: { "fs/file-max": "200000", "fs/file-nr": "150000 0 200000" } },
      "warning limits.file-max",
      "sysctl -w fs.file-max=524288",
    ],
    [
      { sysctls: conntrack({ max: "262144", count: "250000" }) },
      "error limits.conntrack",
      "sysctl -w net.netfilter.nf_conntrack_max=524288",
    ],
    [
      { sysctls: conntrack({ max: "262144", count: "200000" }) },
      "warning limits.conntrack",
      "sysctl -w net.netfilter.nf_conntrack_max=524288",
    ],
    [
      { sysctls: conntrack({ max: "65536", count: "10" }) },
      "info limits.conntrack",
      "sysctl -w net.netfilter.nf_conntrack_max=262144",
    ],
    [
      { sysctls: conntrack({ max: "262144", buckets: "16384" }) },
      "warning limits.conntrack-buckets",
      "sysctl -w net.netfilter.nf_conntrack_buckets=65536",
    ],
  ];
  for (const [changes, name, mend] of cases) {
    const findings = await unwell(changes);
    assertEquals([namesOf(findings), findings[0]?.mend], [[name], mend], JSON.stringify(changes));
  }
});

Deno.test("limits: no limit is enough, and what is not carried needs nothing", async () => {
  assertEquals(await unwell({ files: limits("unlimited"), sysctls: conntrack({ max: "0" }) }), []);
  const { config } = subjectOf();
  const pod = { ...config, ...sidecarRunConfig(), tcp: "off" } as const;
  const [finding] = judgeLimits(await readHostFacts(hostWith({ files: limits("20000") })), {
    ...subjectOf(),
    config: pod,
  });
  assert(
    /this allows \d+ connections, unasked it would be 65536 \(/.test(finding?.breaks ?? ""),
    finding?.breaks,
  );
  const both = neededFds(config), tcp = neededFds({ ...config, udp: "off" });
  assert(both > tcp + 65_536 && tcp > 2 * 65_536 && both < 262_144, `${both} and ${tcp}`);
});
