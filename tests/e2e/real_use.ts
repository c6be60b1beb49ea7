/**
 * A program that people run, at work on both sides of the proxy.
 *
 * @module
 */
import { assert, assertEquals } from "../assert.ts";
import { formatEndpoint, parseAddress } from "../../net/mod.ts";
import { GATEWAY_LAB, type Lab, type LabHost } from "../lab/mod.ts";
import type { LoggedEvent } from "./proxy_run.ts";
import { type ExpectedFlow, type Family, listening, type RealProgram } from "./real_program.ts";

const { servers } = GATEWAY_LAB;

/** A server of a program that runs, and what its clients are to be told. */
export class ProgramInUse implements AsyncDisposable {
  /** The first answer to each client, by client and family. */
  readonly #answers = new Map<string, string>();

  private constructor(
    readonly program: RealProgram,
    readonly client: LabHost,
    readonly folder: string,
  ) {}

  /** Resolves when the server listens. */
  static async start(program: RealProgram, lab: Lab): Promise<ProgramInUse> {
    const folder = await Deno.makeTempDir({ prefix: "pellucid-real-" });
    const use = new ProgramInUse(program, lab.host("client"), folder);
    const host = lab.host("internet");
    const server = await program.start(host, folder);
    await listening(host, server, program.name, program.listens);
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
