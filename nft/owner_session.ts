/**
 * An `nft -i` child that owns our table: nobody else can change it, other programs' flushes pass it by, and the
 * kernel removes it when the child ends. The child ends when our end of its input closes, so also when we are
 * killed.
 *
 * @module
 */
import type { Exec, ExecSession } from "./exec.ts";

/**
 * The signals a terminal or service manager sends to all of a process's children must not take the rules away
 * while we are still draining; ignored signals stay ignored across exec. The child cannot outlive us anyway.
 */
const COMMAND = ["sh", "-c", 'trap "" HUP INT TERM; exec nft -i'];

/** A table held by a process of its own. */
export class OwnerSession {
  readonly #session: ExecSession;
  readonly #tableName: string;

  private constructor(session: ExecSession, tableName: string) {
    this.#session = session;
    this.#tableName = tableName;
  }

  /** Starts the child; it holds nothing yet. */
  static open(exec: Exec, tableName: string): OwnerSession {
    return new OwnerSession(exec.open(COMMAND), tableName);
  }

  /** Resolves with how the child ended. */
  get ended(): Promise<string> {
    return this.#session.ended;
  }

  /**
   * Loads `text` as one transaction and makes sure, from the child's own listing, that the table now carries
   * `comment`.
   *
   * @returns what nft said against it, or undefined when the table is in place.
   */
  async load(text: string, comment: string): Promise<string | undefined> {
    // nft -i runs each line as a transaction of its own and reports no result: the listing is the answer.
    const list = `list table inet ${this.#tableName}`;
    // A listing ends with the table's brace; without a table both lines end in an error.
    const reply = await this.#session.exchange(
      `${singleLine(text)}\n${list}`,
      ({ stdout, stderr }) => /^\}$/m.test(stdout) || stderr.split("Error:").length > 2,
    );
    if (reply.stdout.includes(`comment "${comment}"`)) return undefined;
    // Its two streams reach us separately: once it has answered again, the error has been read as well.
    const again = await this.#session.exchange(
      list,
      ({ stdout, stderr }) => /^\}$/m.test(stdout) || stderr.includes("Error:"),
    );
    const said = firstError(reply.stderr + again.stderr);
    return said === "" ? `the table does not carry the comment "${comment}"` : said;
  }

  /** Ends the child, and with it the table. */
  async close(): Promise<void> {
    await this.#session.close();
  }
}

/** Without the echo of the whole line, which nft prints below its message. */
function firstError(stderr: string): string {
  return stderr.split("\n").find((line) => line.includes("Error:")) ?? stderr.trim();
}

/** nft text on one line: comments dropped, statements separated by semicolons. */
export function singleLine(text: string): string {
  return text.split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => /[{;]$/.test(line) ? line : `${line};`)
    .join(" ");
}
