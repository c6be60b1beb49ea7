/**
 * Policy modules: what they decide, and what becomes of flows, theirs and others', when they are at fault.
 */
import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertStringIncludes } from "../assert.ts";
import { GATEWAY_LAB, gatewayLab, labTest } from "../lab/mod.ts";
import { eventually, kernelState, ProxyRun } from "./proxy_run.ts";
import { ReloadSite } from "./reload_site.ts";
import { fatesOf, type Talk, Talker } from "./talker.ts";

const { servers } = GATEWAY_LAB;

/** A file of its own for a module, until the scope is left. */
class ModuleFile implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async with(text: string): Promise<ModuleFile> {
    const file = new ModuleFile(await Deno.makeTempFile({ prefix: "pellucid-policy-", suffix: ".ts" }));
    await file.write(text);
    return file;
  }

  async write(text: string): Promise<void> {
    await Deno.writeTextFile(this.path, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path);
  }
}

/** So many that the kernel's hash leaves no worker without one: 2^-15 is the chance of it. */
const MANY = 16;

async function reachMany(talker: Talker, port: number, count = MANY): Promise<Talk[]> {
  const addresses = [servers.v4, servers.v6];
  return await Promise.all(Array.from({ length: count }, (_, i) => talker.reach(addresses[i % 2]!, port)));
}

/** Each once: the runtime has one of its own that every thread opens again, those too that cannot be ended. */
function openSockets(pid: number): number {
  const sockets = new Set<string>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      const target = Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
      if (target.startsWith("socket:")) sockets.add(target);
    } catch (error) {
      // Closed since the directory was read.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return sockets.size;
}

labTest("policy module: one with a syntax error is named with its line, and nothing is started", async () => {
  await using lab = await gatewayLab();
  await using file = await ModuleFile.with('export default () => {\n  return "direct" "block";\n};\n');
  const gateway = lab.host("gateway");
  const before = await kernelState(gateway);
  await using proxy = ProxyRun.launch(gateway, ["--from", "lan0", "--policy", file.path]);
  assertEquals(await proxy.exitCode(), 2);
  assertStringIncludes(proxy.process.stderr.tail(), `--policy: ${file.path}:2:19: SyntaxError: Expected ';'`);
  assertEquals(proxy.logged("ready"), []);
  assertEquals(await kernelState(gateway), before);
});

labTest("policy module: it decides about TCP and UDP, and what it throws is counted", async () => {
  await using lab = await gatewayLab();
  const internet = lab.host("internet");
  await using echo = await internet.serve({ kind: "echo" });
  await using blocked = await internet.serve({ kind: "echo" });
  await using faulty = await internet.serve({ kind: "echo" });
  await using file = await ModuleFile.with(`
    import type { PolicyFunction } from "${new URL("../../mod.ts", import.meta.url)}";
    const decide: PolicyFunction = ({ network, destination, client, interfaceName }) => {
      if (network === "udp") return { block: "reset" };
      if (interfaceName !== "lan0" || !["192.0.2.2", "2001:db8:1::2"].includes(client.address)) return "block";
      if (destination.port === ${blocked.port}) return "block";
      if (destination.port === ${faulty.port}) throw new Error("not that one");
      return destination.family === 6 ? "direct" : undefined;
    };
    export default decide;
  `);
  await using proxy = await ProxyRun.start(lab.host("gateway"), [
    ...["--from", "lan0", "--workers", "1", "--flows", "--policy", file.path],
  ]);
  await using talker = new Talker(lab.host("client"));
  for (const address of [servers.v4, servers.v6]) {
    for (const { port } of [echo, faulty]) await (await talker.reach(address, port)).close();
    assertEquals(await talker.dial(address, blocked.port).ended(), "reset");
  }
  const { stdout } = await lab.host("client").run([
    "sh",
    "-c",
    `dig +time=2 +tries=1 @${servers.v4} a.example; true`,
  ]);
  assertStringIncludes(stdout, "connection refused");
  const { message } = await proxy.event("warning", ({ code }) => code === "policy-error");
  assertStringIncludes(message, `policy module: it threw Error: not that one (file://${file.path}:7:`);
  const totals = await proxy.stop();
  assertEquals([totals.tcpBlocked, totals.tcpFinished, totals.policyErrors], [2, 4, 2]);
  assertEquals([totals.policyAsked, totals.policyLate, totals.udpBlocked], [7, 0, 1]);
});

labTest(
  "policy module: one that never returns costs its worker's connections, and those alone",
  async () => {
    await using lab = await gatewayLab();
    const internet = lab.host("internet");
    await using echo = await internet.serve({ kind: "echo" });
    await using trap = await internet.serve({ kind: "echo" });
    await using file = await ModuleFile.with(
      `export default ({ destination: { port } }) => { while (port === ${trap.port}); };`,
    );
    await using proxy = await ProxyRun.start(lab.host("gateway"), [
      ...["--from", "lan0", "--workers", "2", "--policy", file.path],
      ...["--max-connections-per-client", `${2 * MANY}`],
    ]);
    const pid = await proxy.process.outsidePid();
    const socketsAtFirst = openSockets(pid);
    await using talker = new Talker(lab.host("client"));
    const talks = await reachMany(talker, echo.port);

    const trapped = talker.dial(servers.v4, trap.port);
    const begunAt = performance.now();
    const stuck = await proxy.event("policy-stuck");
    assertEquals(await trapped.ended(), "reset");
    assertLess(performance.now() - begunAt, 5_000);
    assertEquals([stuck.level, stuck.restartMs], ["error", 100]);
    const fates = await fatesOf(talks, "still carried");
    assertEquals(new Set(fates), new Set(["carried", "reset"]));
    assertEquals((await proxy.event("worker-restarted")).worker, stuck.worker);

    // The other worker still has the module. When it has gone the same way, rules decide everywhere.
    for (let tries = 0; proxy.logged("policy-stuck").length < 2; tries++) {
      assert(tries < 64, "the other worker was never asked");
      const again = talker.dial(servers.v6, trap.port);
      await again.say("anybody").then(() => again.close(), () => {});
    }
    assertEquals(new Set(proxy.logged("policy-stuck").map(({ worker }) => worker)).size, 2);
    let restarts = 0;
    await proxy.event("worker-restarted", () => ++restarts > 1);
    // What was counted for connections that are no more is given back.
    const later = await reachMany(talker, trap.port, 2 * MANY - 2);
    for (const talk of later) await talk.close();
    for (const talk of talks) await talk.close();
    const closed = () => Promise.resolve(openSockets(pid) === socketsAtFirst);
    await eventually("as many sockets as at first", closed, 5_000);
    assertEquals(proxy.logged("worker-died"), []);
    const totals = await proxy.stop();
    assertEquals([totals.tcpOpenNow, totals.tcpRefusedClientLimit], [0, 0]);
    assertGreaterOrEqual(totals.tcpAccepted, 3 * MANY);
  },
);

labTest("policy module: read again, it decides about new flows; at fault, nothing changes", async () => {
  await using file = await ModuleFile.with("export default () => undefined;");
  const config = (module: string) => `
    workers = 2
    intercept.from = "lan0"
    udp.mode = "off"
    log.format = "json"
    [policy]
    ${module}
  `;
  const withModule = config(`module = ${JSON.stringify(file.path)}`);
  await using site = await ReloadSite.start(withModule);
  await using echo = await site.lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  const live = await reachMany(talker, echo.port);

  await file.write('export default () => "block";');
  assertEquals((await site.reloadBySignal(withModule)).event, "reloaded");
  for (let i = 0; i < MANY; i++) assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");

  await file.write('export default () =>\n  "direct" "block";');
  const failed = await site.reloadBySignal(withModule);
  assertEquals(failed.event, "reload-failed");
  assertStringIncludes(JSON.stringify(failed), `${file.path}:2:12: SyntaxError`);
  assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");

  assertEquals((await site.reloadBySignal(config(""))).event, "reloaded");
  await Promise.all((await reachMany(talker, echo.port)).map((talk) => talk.close()));
  for (const talk of live) await talk.say("as ever").then(() => talk.close());
  assertEquals((await site.proxy.stop()).policyErrors, 0);
});

labTest("policy module: a proxy that runs without one has to be restarted for one", async () => {
  await using file = await ModuleFile.with("export default () => undefined;");
  const config = 'intercept.from = "lan0"\nlog.format = "json"\n';
  await using site = await ReloadSite.start(config);
  const failed = await site.reloadBySignal(`${config}policy.module = ${JSON.stringify(file.path)}\n`);
  assertEquals(failed.event, "reload-failed");
  assertStringIncludes(JSON.stringify(failed), "a change needs a restart");
});

labTest(
  "policy module: what it leaves undone behind itself costs no connection at the next reload",
  async () => {
    await using file = await ModuleFile.with(`
    const due: Promise<never>[] = [];
    export default () => {
      setTimeout(() => { throw new Error("by a timer"); }, 0);
      due.push(Promise.reject(new Error("by a promise")));
    };
  `);
    const config = `workers = 1\nintercept.from = "lan0"\nlog.format = "json"\npolicy.module = ${
      JSON.stringify(file.path)
    }\n`;
    await using site = await ReloadSite.start(config);
    await using echo = await site.lab.host("internet").serve({ kind: "echo" });
    await using talker = new Talker(site.lab.host("client"));
    const live = await talker.reach(servers.v4, echo.port);
    // In the event loop for long enough that everything is due there.
    await file.write('await new Promise((done) => setTimeout(done, 300));\nexport default () => "block";');
    assertEquals((await site.reloadBySignal(config)).event, "reloaded");
    await live.say("as ever");
    assertEquals(await talker.dial(servers.v4, echo.port).ended(), "reset");
    const { message } = await site.proxy.event("warning", ({ code }) => code === "policy-error");
    assertStringIncludes(message, "policy module: ");
    assertEquals(site.proxy.logged("worker-died"), []);
  },
);

labTest("policy module: one whose top comes to no end in a worker holds nothing up but itself", async () => {
  await using file = await ModuleFile.with("export default () => undefined;");
  const config = `workers = 1\nintercept.from = "lan0"\nlog.format = "json"\npolicy.module = ${
    JSON.stringify(file.path)
  }\n`;
  await using site = await ReloadSite.start(config);
  await using echo = await site.lab.host("internet").serve({ kind: "echo" });
  await using talker = new Talker(site.lab.host("client"));
  const live = await talker.reach(servers.v4, echo.port);
  // As one that fetches a list does, whose server answers once.
  await file.write(`
    try { Deno.mkdirSync("${file.path}.once"); } catch { await new Promise(() => setInterval(() => {}, 1000)); }
    export default () => "block";
  `);
  try {
    await site.reloadBySignal(config);
    await live.say("as ever");
    const { message } = await site.proxy.event("warning", ({ code }) => code === "policy-unavailable");
    assertStringIncludes(message, "its top has not come to an end");
    await (await talker.reach(servers.v6, echo.port)).close();
  } finally {
    await Deno.remove(`${file.path}.once`);
  }
});
