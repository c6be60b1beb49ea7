/**
 * What the policy was made from changes while the proxy runs: lists in files, interfaces; and a worker that begins anew
 * does so with the policy there is.
 */
import { assert, assertEquals, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, labTest } from "../lab/mod.ts";
import { ReloadSite } from "./reload_site.ts";
import { Talker } from "./talker.ts";

const { servers } = GATEWAY_LAB;

const config = (rule: string): string => `
mode = "gateway"
workers = 2
[intercept]
from = ["lan0"]
[[rule]]
${rule}
use = "block"
[log]
format = "json"
`;

labTest(
  "reload: a list of the policy that changes holds for new connections, a bad one for none",
  async () => {
    const list = await Deno.makeTempFile({ prefix: "pellucid-list-" });
    try {
      await Deno.writeTextFile(list, `${servers.v4b}\n`);
      await using site = await ReloadSite.start(config(`destination-file = ["${list}"]`));
      await using echo = await site.lab.host("internet").serve({ kind: "echo" });
      await using talker = new Talker(site.lab.host("client"));
      const blocked = async (address: string) => await talker.dial(address, echo.port).ended();
      const open = await talker.reach(servers.v4, echo.port);
      assertEquals(await blocked(servers.v4b), "reset");

      await Deno.writeTextFile(list, `${servers.v4}\n`);
      await site.proxy.event("routing-replaced", undefined, 5_000);
      assertEquals(await blocked(servers.v4), "reset");
      await (await talker.reach(servers.v4b, echo.port)).close();
      await open.say("still carried");

      await Deno.writeTextFile(list, `${servers.v4b}\nnonsense\n`);
      const { message } = await site.proxy.event(
        "warning",
        ({ code }) => code === "routing-not-replaced",
        5_000,
      );
      assertStringIncludes(message, `${list}:2: "nonsense"`);
      await (await talker.reach(servers.v4b, echo.port)).close();
      await open.close();
      await site.proxy.stop();
    } finally {
      await Deno.remove(list);
    }
  },
  { timeoutMs: 60_000 },
);

labTest("reload: a rule about an interface that is made anew is about the new one", async () => {
  await using site = await ReloadSite.start(config('interface = ["lan*"]'));
  const here = site.gateway;
  await using echo = await site.lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");
  const replaced = async (number: number) => {
    const deadline = performance.now() + 5_000;
    while (site.proxy.logged("routing-replaced").length < number) {
      assert(performance.now() < deadline, `${number} changes of the routing wanted`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await here.output(["sh", "-c", "ip link add lan9 type veth peer name other9; ip link set lan9 up"]);
  await replaced(1);
  // By the same name, and yet another one.
  await here.output([
    "sh",
    "-c",
    "ip link del lan9; ip link add lan9 type veth peer name other9; ip link set lan9 up",
  ]);
  await replaced(2);
  assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");
  assertEquals(site.proxy.logged("warning").filter(({ code }) => code === "routing-not-replaced"), []);
  await site.proxy.stop();
}, { timeoutMs: 60_000 });
