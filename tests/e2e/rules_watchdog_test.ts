/**
 * What takes iptables rules away after us does so whatever ends us, and however long another program has the lock.
 */
import { assert, assertEquals } from "../assert.ts";
import { gatewayLab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, kernelState, ProxyRun } from "./proxy_run.ts";

const SAVE = "iptables-legacy-save; ip6tables-legacy-save; iptables-nft-save; ip6tables-nft-save";

async function hasRules(host: LabHost): Promise<boolean> {
  return (await host.output(["sh", "-c", SAVE])).includes("pellucid");
}

labTest("watchdog: the lock of iptables is held for longer than one attempt waits", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  await using proxy = await ProxyRun.start(here, ["--rules", "iptables-legacy", "--from", "lan0"]);
  const lock = 'exec flock "${XTABLES_LOCKFILE:-/run/xtables.lock}" sh -c "echo locked; exec sleep 8"';
  const holder = here.spawn(["sh", "-c", lock]);
  await holder.stdout.waitFor((line) => line === "locked" || undefined, 15_000);
  await proxy.process.kill("SIGKILL");
  await holder.status;
  assert(await hasRules(here), "the lock kept them");
  await eventually("all of it is gone", async () => {
    return !await hasRules(here) && await kernelState(here) === before;
  }, 10_000);
}, { timeoutMs: 60_000 });

labTest("watchdog: SIGQUIT to us and to all that we started, as Ctrl-\\ sends it", async () => {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const before = await kernelState(here);
  await using proxy = await ProxyRun.start(here, ["--rules", "iptables-legacy", "--from", "lan0"]);
  assert(await hasRules(here));
  const watchdog = (await here.output(["pgrep", "-f", "while read -r line"])).trim();
  const group = (await here.output(["ps", "-o", "pgid=", "-p", watchdog])).trim();
  assertEquals(group, watchdog, "a SIGKILL to our group does not reach it");
  const pid = `${await proxy.process.insidePid()}`;
  const children = (await here.output(["pgrep", "-P", pid])).trim().split("\n");
  assert(children.includes(watchdog), children.join(" "));
  await here.output(["kill", "-QUIT", ...children, pid]);
  await eventually("all of it is gone", async () => {
    return !await hasRules(here) && await kernelState(here) === before;
  }, 15_000);
}, { timeoutMs: 60_000 });
