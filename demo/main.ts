/**
 * The demo: real connections through the real proxy, on a stage of throw-away network namespaces, each judged by
 * comparing what its ends saw with what the proxy said.
 *
 * Nothing here outlives the process, however it ends: the stage is held by a pipe from it, and there are no files.
 *
 * @module
 */
import type { Protocol } from "../net/mod.ts";
import { DeadlineError, within } from "../tests/lab/mod.ts";
import { type Flow, judge } from "./judge.ts";
import { judgeCleanup, readKernelState } from "./kernel_state.ts";
import { renderPicture } from "./picture.ts";
import { ProxyFailedError, ShownProxy } from "./proxy.ts";
import { checksIn, type Section, SECTIONS } from "./sections.ts";
import { FAMILIES, type Family, Stage } from "./stage.ts";
import {
  type Paint,
  paint,
  renderCleanup,
  renderColumnHeads,
  renderFlow,
  renderSummary,
  renderVerdictLine,
} from "./table.ts";
import { destinationOf, type EndsReport, type Traffic } from "./traffic.ts";

const TIME_LIMIT_MS = 28_000;

/** Where the demo's lines go, and whether they may be coloured. */
export interface DemoOutput {
  readonly write: (line: string) => void;
  readonly colours: boolean;
}

/**
 * Shows everything; each line as soon as it is known.
 *
 * @returns whether all of it was right.
 * @throws {StartError} when the stage cannot be built here.
 */
export async function showDemo({ write, colours }: DemoOutput): Promise<boolean> {
  const startedAt = performance.now();
  const style = paint(colours);
  for (const line of renderPicture()) write(line);
  await using stage = await Stage.build();
  const show = new Show(stage, write, style);
  try {
    await within(show.run(SECTIONS), TIME_LIMIT_MS - (performance.now() - startedAt), "demo");
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    write(
      style.bad(`given up after ${TIME_LIMIT_MS / 1000} s: this machine is very busy, or something hangs`),
    );
  }
  const total = SECTIONS.reduce((sum, section) => sum + checksIn(section, FAMILIES.length), 0);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  write("");
  write(
    `All of it took ${seconds} s and is gone now. The rates are those of curl, and of a client that checks every`,
  );
  write("byte: what the proxy itself can do is measured by `./dev bench tcp` and `./dev bench udp`.");
  write(renderSummary(show.right, total, style));
  return show.right === total;
}

/** Goes through the sections and counts what was right; what was not even tried is not. */
class Show {
  right = 0;
  readonly #stage: Stage;
  readonly #write: (line: string) => void;
  readonly #style: Paint;

  constructor(stage: Stage, write: (line: string) => void, style: Paint) {
    this.#stage = stage;
    this.#write = write;
    this.#style = style;
  }

  async run(sections: readonly Section[]): Promise<void> {
    for (const section of sections) {
      this.#write("");
      this.#write(this.#style.heading(section.title));
      if (section.proxy === "none") await this.#showConnections(section, undefined);
      else await this.#showProxy(section);
    }
  }

  async #showProxy(section: Section): Promise<void> {
    const { gateway } = this.#stage;
    const before = await readKernelState(gateway);
    let proxy: ShownProxy;
    try {
      proxy = await ShownProxy.start(gateway, section.flags);
    } catch (error) {
      if (!(error instanceof ProxyFailedError)) throw error;
      this.#show(renderVerdictLine("start", "the proxy did not start", [error.message], this.#style));
      return;
    }
    await using _ended = proxy;
    const command = `pellucid run ${section.flags.join(" ")}`;
    this.#write(this.#style.faint(`  ${command}   (ready after ${Math.round(proxy.ready.startMs)} ms)`));
    const during = await readKernelState(gateway);
    const rightBefore = this.right;
    await this.#showConnections(section, proxy);
    const exchanges = await this.#makeExchanges(section);
    const stopping = await proxy.stop();
    this.#showExchanges(section, exchanges, proxy);
    const after = await readKernelState(gateway);
    const wrong = [...stopping, ...judgeCleanup(before, during, after)];
    this.#count(wrong);
    this.#show(renderCleanup(before, during, after, wrong, this.#style));
    if (this.right - rightBefore < checksIn(section, FAMILIES.length)) {
      for (const complaint of proxy.complaints()) this.#write(`    proxy: ${complaint}`);
    }
  }

  async #showConnections(section: Section, proxy: ShownProxy | undefined): Promise<void> {
    this.#write(this.#style.faint(renderColumnHeads("tcp")));
    for (const { traffic, family } of rowsOf(section, "tcp")) {
      const mark = proxy?.mark() ?? 0;
      const ends = await this.#make(traffic, family);
      const flow = ends instanceof Error ? undefined : await proxy?.flowAfter(mark);
      this.#showRow(section, traffic, family, ends, flow);
    }
  }

  /** All of UDP, to be shown when the proxy has stopped and told of it. */
  async #makeExchanges(section: Section): Promise<Exchange[]> {
    const exchanges: Exchange[] = [];
    for (const { traffic, family } of rowsOf(section, "udp")) {
      exchanges.push({ traffic, family, ends: await this.#make(traffic, family) });
    }
    return exchanges;
  }

  #showExchanges(section: Section, exchanges: readonly Exchange[], proxy: ShownProxy): void {
    if (exchanges.length > 0) this.#write(this.#style.faint(renderColumnHeads("udp")));
    for (const { traffic, family, ends } of exchanges) {
      const flow = ends instanceof Error ? undefined : proxy.datagramFlowOf(ends.client);
      this.#showRow(section, traffic, family, ends, flow);
    }
  }

  /** One that could not even be tried does not keep the others from being shown. */
  async #make(traffic: Traffic, family: Family): Promise<EndsReport | Error> {
    try {
      return await traffic.make(this.#stage, family);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #showRow(
    section: Section,
    traffic: Traffic,
    family: Family,
    ends: EndsReport | Error,
    flow: Flow | undefined,
  ): void {
    const label = `${traffic.name} ${family}`;
    if (ends instanceof Error) {
      this.#show(renderVerdictLine(label, "could not be made", [String(ends)], this.#style));
      return;
    }
    const seen = { protocol: traffic.protocol, dialled: destinationOf(traffic, family), ends, flow };
    const wrong = judge(seen, { proxy: section.proxy, end: traffic.end });
    this.#count(wrong);
    this.#show(renderFlow(label, seen, wrong, this.#style));
  }

  #count(wrong: readonly string[]): void {
    if (wrong.length === 0) this.right++;
  }

  #show(lines: readonly string[]): void {
    for (const line of lines) this.#write(line);
  }
}

/** Traffic over UDP that was made and is not judged yet. */
interface Exchange {
  readonly traffic: Traffic;
  readonly family: Family;
  readonly ends: EndsReport | Error;
}

function rowsOf(section: Section, protocol: Protocol): { traffic: Traffic; family: Family }[] {
  return section.traffic.filter((traffic) => traffic.protocol === protocol)
    .flatMap((traffic) => FAMILIES.map((family) => ({ traffic, family })));
}
