/**
 * What a service manager runs after each end of the proxy: it takes away what should not have been left, and leaves
 * what is to be there without a proxy.
 */
import { assert, assertEquals } from "../assert.ts";
import { gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { kernelState, MAIN, ProxyRun } from "./proxy_run.ts";

/** Lines that are ours: iptables leaves its empty built-in chains behind. */
async function ours(here: LabHost): Promise<string> {
  const legacy = await here.output(["sh", "-c", "iptables-legacy-save; ip6tables-legacy-save"]);
  const lines = `${await kernelState(here)}\n${legacy}`.split("\n");
  return lines.filter((line) => /pellucid|7873/.test(line)).join("\n");
}

async function command(here: LabHost, ...args: string[]): Promise<string> {
  return await here.output([Deno.execPath(), "run", "-A", "--cached-only", MAIN, "rules", ...args]);
}

/** As a service manager kills a cgroup: nothing of it is left to tidy up. */
async function killAll(here: LabHost, proxy: ProxyRun): Promise<void> {
  const { pid } = await proxy.event("ready");
  const watchdogs = (await here.run(["pgrep", "-f", "while read -r line"])).stdout.trim().split("\n");
  await here.output(["kill", "-9", ...watchdogs.filter((word) => word !== ""), `${pid}`]);
  await proxy.process.wait(15_000);
}

for (const rules of ["nft", "iptables", "iptables-legacy"] as const) {
  labTest(`cleanup --if-open: ${rules}: what was killed under open goes, what is to stay does`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    const flags = ["--rules", rules, "--from", "lan0"];
    {
      await using proxy = await ProxyRun.start(here, flags);
      await killAll(here, proxy);
      // An owned table goes with its owner, whatever is killed.
      assert(rules === "nft" || await ours(here) !== "", "the kill left nothing to clean up");
      await command(here, "cleanup", "--if-open");
      assertEquals(await ours(here), "");
    }
    {
      await using proxy = await ProxyRun.start(here, [...flags, "--on-proxy-down", "closed"]);
      await killAll(here, proxy);
      const left = await ours(here);
      const said = await command(here, "cleanup", "--if-open");
      assert(/^left, .*pellucid/.test(said) && !said.includes("removed"), said);
      assertEquals(await ours(here), left);
      await command(here, "cleanup");
      assertEquals(await ours(here), "");
    }
    await command(here, "apply", ...flags);
    const kept = await ours(here);
    await command(here, "cleanup", "--if-open");
    assertEquals(await ours(here), kept);
    await command(here, "cleanup");
    assertEquals(await ours(here), "");
  }, { timeoutMs: 60_000 });
}
