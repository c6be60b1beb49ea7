/**
 * The demo: real connections through the real proxy, on a stage of throw-away network namespaces, each judged by
 * comparing what its ends saw with what the proxy said.
 *
 * Nothing here outlives the process, however it ends: the stage is held by a pipe from it, and there are no files.
 *
 * @module
 */
import { DeadlineError, within } from "../tests/lab/mod.ts";
import { judge, type Observation } from "./judge.ts";
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
  renderConnection,
  renderSummary,
  renderVerdictLine,
} from "./table.ts";
import { destinationOf, type Traffic } from "./traffic.ts";

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
  write("byte: what the proxy itself can do is measured by `./dev bench`.");
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
      if (section.proxy === "none") await this.#showTraffic(section, undefined);
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
    await this.#showTraffic(section, proxy);
    const stopping = await proxy.stop();
    const after = await readKernelState(gateway);
    const wrong = [...stopping, ...judgeCleanup(before, during, after)];
    this.#count(wrong);
    this.#show(renderCleanup(before, during, after, wrong, this.#style));
    if (this.right - rightBefore < checksIn(section, FAMILIES.length)) {
      for (const complaint of proxy.complaints()) this.#write(`    proxy: ${complaint}`);
    }
  }

  async #showTraffic(section: Section, proxy: ShownProxy | undefined): Promise<void> {
    this.#write(this.#style.faint(renderColumnHeads()));
    for (const traffic of section.traffic) {
      for (const family of FAMILIES) {
        const label = `${traffic.name} ${family}`;
        try {
          const seen = await observe(this.#stage, traffic, family, proxy);
          const wrong = judge(seen, { proxy: section.proxy, end: traffic.end });
          this.#count(wrong);
          this.#show(renderConnection(label, seen, wrong, this.#style));
        } catch (error) {
          // One that could not even be tried does not keep the others from being shown.
          this.#show(renderVerdictLine(label, "could not be made", [String(error)], this.#style));
        }
      }
    }
  }

  #count(wrong: readonly string[]): void {
    if (wrong.length === 0) this.right++;
  }

  #show(lines: readonly string[]): void {
    for (const line of lines) this.#write(line);
  }
}

async function observe(
  stage: Stage,
  traffic: Traffic,
  family: Family,
  proxy: ShownProxy | undefined,
): Promise<Observation> {
  const mark = proxy?.mark() ?? 0;
  const ends = await traffic.make(stage, family);
  const flow = await proxy?.flowAfter(mark);
  return { protocol: traffic.protocol, dialled: destinationOf(traffic, family), ends, flow };
}
