/**
 * Ours beside Docker's, ufw's and firewalld's rules: put in place, checked, reloaded around, wiped out and healed, and
 * gone in the end, with theirs byte for byte as they were.
 */
import { assertEquals } from "../assert.ts";
import { type Flavour, ForeignFirewalls } from "../fixtures/foreign_firewalls.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, MAIN, ProxyRun } from "./proxy_run.ts";
import { Talker } from "./talker.ts";

const { gateway, client, servers } = GATEWAY_LAB;
/** What is promised is two seconds on a machine that has time; on one that has not, the looks themselves take longer. */
const HEAL_MS = 10_000;

async function pellucid(host: LabHost, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await host.run([
    Deno.execPath(),
    "run",
    "-A",
    "--cached-only",
    MAIN,
    ...args,
  ], {
    timeoutMs: 20_000,
  });
  return `${code}: ${stdout}${stderr}`;
}

/** The addresses that the server sees a connection of each family come from. */
async function seenAddresses(lab: Lab): Promise<string[]> {
  await using echo = await lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(lab.host("client"));
  const seen: string[] = [];
  for (const family of ["v4", "v6"] as const) {
    await (await talker.reach(servers[family], echo.port)).close();
    const { peer } = await echo.nextOpened();
    seen.push(peer.slice(0, peer.lastIndexOf(":")).replace(/^\[|\]$/g, ""));
  }
  return seen;
}

const DIRECT = [client.v4, client.v6];
const TAKEN = [gateway.wanV4, gateway.wanV6];

for (
  const [rules, flavour] of [["nft", "nft"], ["iptables", "nft"], ["iptables-legacy", "legacy"]] as [
    string,
    Flavour,
  ][]
) {
  for (const tcp of ["tproxy", "redirect"]) {
    labTest(`rules: ${tcp} by ${rules} beside other programs' firewalls`, async () => {
      await using lab = await gatewayLab();
      const here = lab.host("gateway");
      const firewalls = await ForeignFirewalls.start(here, flavour);
      await firewalls.flushAllAndReload();
      const theirs = await firewalls.state();
      assertEquals(await seenAddresses(lab), DIRECT);

      const flags = ["--rules", rules, "--from", "lan0", "--tcp", tcp];
      assertEquals((await pellucid(here, "rules", "apply", ...flags)).slice(0, 2), "0:");
      assertEquals(await pellucid(here, "rules", "verify", ...flags), "0: everything is in place\n");
      await firewalls.reload();
      assertEquals(await pellucid(here, "rules", "verify", ...flags), "0: everything is in place\n");

      await using proxy = await ProxyRun.start(here, flags);
      assertEquals(await seenAddresses(lab), TAKEN);
      await firewalls.reload();
      assertEquals(await seenAddresses(lab), TAKEN);
      await firewalls.flushAllAndReload();
      // An owned table is not flushed by anyone: there is nothing to heal.
      if (rules !== "nft") await proxy.event("rules-healed", () => true, HEAL_MS);
      await eventually("connections are taken again", async () => {
        return JSON.stringify(await seenAddresses(lab)) === JSON.stringify(TAKEN);
      }, HEAL_MS);
      await proxy.stop();
      assertEquals((await pellucid(here, "rules", "cleanup")).slice(0, 2), "0:");
      assertEquals(await firewalls.state(), theirs);
      assertEquals(await seenAddresses(lab), DIRECT);
    }, { timeoutMs: 90_000 });
  }
}
