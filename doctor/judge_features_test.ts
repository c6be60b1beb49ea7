import { assertEquals, assertStringIncludes } from "../tests/assert.ts";
import { examine } from "./examine.ts";
import { hostWith, namesOf, subjectOf, unwell } from "../tests/doctor_world.ts";
import { parseProbeOutput } from "./run_probes.ts";

Deno.test("features: one tool that can do it all is enough", async () => {
  assertEquals(namesOf(await unwell({ lacks: ["nft-tproxy"] })), ["info features.nft-tproxy"]);
  const [finding] = await unwell({ lacks: ["nft-tproxy"] });
  assertEquals(finding!.mend, "modprobe nft_tproxy");
  assertStringIncludes(finding!.breaks, "cannot be managed by nft");
});

Deno.test("features: with none, or with the one that was asked for lacking, the start fails", async () => {
  const lacks = ["nft-tproxy", "iptables-u32", "iptables-legacy-tables"];
  assertEquals(namesOf(await unwell({ lacks })), [
    "error features.backend",
    ...lacks.map((id) => `error features.${id}`),
  ]);
  const asked = await unwell({ lacks: ["nft-tproxy"] }, subjectOf({ rules: "nft" }));
  assertEquals(namesOf(asked), ["error features.backend", "error features.nft-tproxy"]);
});

Deno.test("features: what these rules do not need does not matter", async () => {
  const lacks = ["nft-tproxy", "nft-socket", "nft-hash", "nft-conntrack", "route-4"];
  const findings = await unwell({ lacks }, subjectOf({ rules: "nft", tcp: "redirect", udp: "off" }));
  assertEquals(namesOf(findings).toSorted(), lacks.map((id) => `info features.${id}`).toSorted());
});

Deno.test("features: no owner tables is no fault, no routing to this host is", async () => {
  const findings = await unwell({ lacks: ["nft-owner-table", "route-4", "route-6"] });
  assertEquals(namesOf(findings), [
    "error features.route-4",
    "warning features.route-6",
    "info features.nft-owner-table",
  ]);
});

Deno.test("features: a scratch namespace that cannot be made leaves them unknown", async () => {
  const host = hostWith({});
  host.run = () => Promise.resolve({ code: 1, stdout: "", stderr: "unshare: Operation not permitted" });
  const findings = (await examine(subjectOf(), host)).filter(({ group }) => group === "features");
  assertEquals(namesOf(findings), ["warning features.scratch"]);
});

Deno.test("parseProbeOutput: what was said, and what was never reached", () => {
  const results = parseProbeOutput("@ready\n@nft-fib 0\n\n@nft-set 1\nError: no\n  at all\n@nft-mac 2\n\n");
  assertEquals(
    ["nft-fib", "nft-set", "nft-mac", "nft-hash"].map((id) => results.get(id)),
    [null, "Error: no;   at all", "exit code 2", "not tried: no end, killed"],
  );
});
