/**
 * A conversation by lines, between the test and a program in a lab host.
 *
 * @module
 */
import type { LabProcess } from "../lab/mod.ts";

const ANSWER_TIMEOUT_MS = 15_000;

/** The lines of a stream, as they come. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = pieces.pop()!;
    yield* pieces;
  }
}

/** The test's end: one command, one answer. */
export class Conversation {
  #heard = 0;

  private constructor(readonly process: LabProcess) {}

  /** Resolves when the program has said `ready`. */
  static async open(process: LabProcess): Promise<Conversation> {
    const conversation = new Conversation(process);
    const word = await conversation.#answer();
    if (word !== "ready") throw new Error(`${process.argv.join(" ")}: "ready" wanted, found "${word}"`);
    return conversation;
  }

  /** @returns the number that the program answers. @throws {Error} with what went wrong there. */
  async ask(command: unknown): Promise<number> {
    await this.process.write(`${JSON.stringify(command)}\n`);
    const answer = await this.#answer();
    const count = /^ok (\d+)$/.exec(answer)?.[1];
    if (count === undefined) throw new Error(answer);
    return Number(count);
  }

  #answer(): Promise<string> {
    const from = this.#heard;
    return this.process.stdout.waitFor(
      (line, index) => {
        this.#heard = index + 1;
        return line;
      },
      ANSWER_TIMEOUT_MS,
      from,
    );
  }
}

/** Answers each line of standard input by `obey`, which returns a number or throws. */
export async function answerLines<T>(obey: (command: T) => number): Promise<void> {
  console.log("ready");
  for await (const line of linesOf(Deno.stdin.readable)) {
    try {
      console.log(`ok ${obey(JSON.parse(line))}`);
    } catch (error) {
      console.log(`error ${error instanceof Error ? error.message : error}`);
    }
  }
}
