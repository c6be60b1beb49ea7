/**
 * Real programs do not notice: what each of them is told through the proxy is what it is told over plain forwarding,
 * with `run --from lan0` taking over all TCP and UDP, for both kinds of source and in every family that it knows.
 */
import { assert, assertEquals } from "../assert.ts";
import { formatEndpoint, parseAddress } from "../../net/mod.ts";
import { GATEWAY_LAB, gatewayLab, type Lab, type LabHost, labTest } from "../lab/mod.ts";
import { eventually, type LoggedEvent, ProxyRun } from "./proxy_run.ts";
import { KNOT } from "./real_dns.ts";
import { SAUERBRATEN } from "./real_game.ts";
import { IPERF3 } from "./real_iperf3.ts";
import { CHRONYD } from "./real_ntp.ts";
import { type ExpectedFlow, type Family, missingPrograms, type RealProgram } from "./real_program.ts";
import { DNSMASQ_TFTP } from "./real_tftp.ts";

const { servers } = GATEWAY_LAB;

for (const program of [KNOT, DNSMASQ_TFTP, CHRONYD, IPERF3, SAUERBRATEN]) {
  const missing = missingPrograms(program.needs);
  const remark = missing.length === 0 ? "" : ` (missing here: ${missing.join(", ")})`;
  labTest(`${program.name} and its clients notice nothing${remark}`, async (context) => {
    await using lab = await gatewayLab();
    await using use = await InUse.start(program, lab);
    await context.step("plain forwarding", (step) => use.everyClient(step));
    for (const source of ["own", "keep"]) {
      await context.step(`--source ${source}`, async (step) => {
        const flags = ["--from", "lan0", "--source", source, "--flows"];
        await using proxy = await ProxyRun.start(lab.host("gateway"), flags);
        await use.everyClient(step);
        await proxy.stopByForce();
        use.assertIntercepted(proxy.logged("flow"));
        assertEquals(proxy.logged("warning"), []);
      });
    }
  }, { ignore: missing.length > 0, timeoutMs: 180_000 });
}

/** A server of a program that runs, and what its clients are to be told. */
class InUse implements AsyncDisposable {
  /** The first answer to each client, by client and family. */
  readonly #answers = new Map<string, string>();

  private constructor(
    readonly program: RealProgram,
    readonly client: LabHost,
    readonly folder: string,
  ) {}

  /** Resolves when the server listens. */
  static async start(program: RealProgram, lab: Lab): Promise<InUse> {
    const folder = await Deno.makeTempDir({ prefix: "pellucid-real-" });
    const use = new InUse(program, lab.host("client"), folder);
    const host = lab.host("internet");
    const server = await program.start(host, folder);
    const { proto, port } = program.listens;
    const list = ["ss", "-Hln", `--${proto}`, `sport = :${port}`];
    const listens = async () => {
      assert(server.running, `${program.name} has ended:\n${server.stdout.tail()}\n${server.stderr.tail()}`);
      return (await host.output(list)) !== "";
    };
    await eventually(`${program.name} listens at port ${port}`, listens, 10_000);
    return use;
  }

  /** Lets every client ask in each of its families, and compares with what it was told before. */
  async everyClient(context: Deno.TestContext): Promise<void> {
    for (const { name, families, use } of this.program.clients) {
      for (const family of families) {
        await context.step(`${name}, ${family}`, async () => {
          const answer = await use(this.client, servers[family], this.folder);
          const key = `${name} ${family}`;
          const before = this.#answers.get(key);
          if (before === undefined) this.#answers.set(key, answer);
          else assertEquals(answer, before);
        });
      }
    }
  }

  /** Everything that {@linkcode everyClient} did went through the proxy. */
  assertIntercepted(flows: readonly LoggedEvent<"flow">[]): void {
    for (const [key, expected] of this.#expectedFlows()) {
      const found = flows.filter((flow) => `${flow.proto} ${flow.destination}` === key);
      const bytesDown = found.map((flow) => flow.bytesDown).toSorted((a, b) => b - a);
      const wanted = expected.map((flow) => flow.bytesDown ?? 1).toSorted((a, b) => b - a);
      const enough = wanted.every((bytes, i) => bytesDown[i] !== undefined && bytesDown[i] >= bytes);
      assert(enough, `${key}: flows of ${bytesDown} bytes down, wanted at least ${wanted}`);
      for (const { proto, datagramsUp, datagramsDown } of found) {
        if (proto !== "udp") continue;
        assert(datagramsUp! > 0 && datagramsDown! > 0, `${key}: ${datagramsUp} up, ${datagramsDown} down`);
      }
    }
  }

  /** By protocol and destination. */
  #expectedFlows(): Map<string, ExpectedFlow[]> {
    const uses = this.program.clients.flatMap(({ families, flows }) =>
      families.flatMap((family) => flows.map((flow) => ({ key: destinationKey(flow, family), flow })))
    );
    return new Map(
      Object.entries(Object.groupBy(uses, ({ key }) => key))
        .map(([key, group]) => [key, group!.map(({ flow }) => flow)]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

function destinationKey({ proto, port }: ExpectedFlow, family: Family): string {
  return `${proto} ${formatEndpoint({ address: parseAddress(servers[family])!, port })}`;
}
