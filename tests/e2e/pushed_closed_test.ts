/**
 * With --on-proxy-down closed, a proxy that is no more: what the policy lets the kernel decide still passes, and nothing
 * else does.
 */
import { assertEquals } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { ReloadSite } from "./reload_site.ts";
import { assertSeenFrom } from "./seen_from.ts";
import { Talker } from "./talker.ts";

const { client, servers } = GATEWAY_LAB;

for (const rules of ["nft", "iptables", "iptables-legacy"]) {
  labTest(
    `pushed down, closed: by ${rules}: a direct rule outlives the proxy, nothing else passes`,
    async () => {
      await using site = await ReloadSite.start(`
      mode = "gateway"
      workers = 1
      rules.tool = "${rules}"
      rules.on-proxy-down = "closed"
      [intercept]
      from = ["lan0"]
      [[rule]]
      destination = "${servers.v4}"
      use = "direct"
      [log]
      format = "json"
    `);
      await using echo = await site.lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(site.lab.host("client"));
      const passed = await talker.reach(servers.v4, echo.port);
      await assertSeenFrom(echo, client.v4);
      await (await talker.reach(servers.v4b, echo.port)).close();
      await site.proxy.process.kill("SIGKILL");
      // Until the kernel has closed its listeners they take connections.
      await site.proxy.process.wait(15_000);
      await passed.say("as ever");
      await (await talker.reach(servers.v4, echo.port)).close();
      const lost = talker.dial(servers.v4b, echo.port);
      const fate = await Promise.race([
        lost.ended(),
        lost.say("anybody").then(() => "passed", () => "ended"),
        new Promise((resolve) => setTimeout(() => resolve("dropped"), 1_500)),
      ]);
      assertEquals(fate, "dropped");
    },
    { timeoutMs: 60_000 },
  );
}
