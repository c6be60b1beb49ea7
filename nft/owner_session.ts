/**
 * An `nft -i` child that owns our table: nobody else can change it, other programs' flushes pass it by, and the
 * kernel removes it when the child ends. The child ends when our end of its input closes, so also when we are
 * killed; the shell around it then takes away what belongs to the table and is not in it.
 *
 * @module
 */
import type { Exec, ExecSession } from "./exec.ts";

/**
 * The signals that a service manager sends to all of a process's children must not take the rules away while we are
 * still draining; ignored signals stay ignored across exec. The child cannot outlive us anyway.
 *
 * nft appends what it was told to $HOME/.nft.history when it ends, which may be megabytes of addresses.
 *
 * Arguments: the table's name and the script. Who has the table by then has the routes as well.
 */
const COMMAND = [
  "sh",
  "-c",
  'trap "" HUP INT QUIT TERM USR1 USR2 PIPE ALRM; HOME=/dev/null nft -i; ' +
  'nft -t list ruleset inet 2>/dev/null | grep -qF "table inet $1 {" || eval "$2" >/dev/null 2>&1',
  "sh",
];

/** A table with many sets takes nft a while. */
const TRANSACTION_TIMEOUT_MS = 60_000;

/** A process that can own a table. */
export class OwnerSession {
  readonly #session: ExecSession;
  #transactions = 0;

  private constructor(session: ExecSession) {
    this.#session = session;
  }

  /**
   * Starts the child; it holds nothing yet.
   *
   * @param afterwards shell command to be run when the child has ended and the table with it.
   */
  static open(exec: Exec, tableName: string, afterwards: string): OwnerSession {
    return new OwnerSession(exec.open([...COMMAND, tableName, afterwards]));
  }

  /** Resolves with how the child ended. */
  get ended(): Promise<string> {
    return this.#session.ended;
  }

  /**
   * Runs `text` as one transaction.
   *
   * @returns what nft said against it, or undefined when it is done.
   */
  async run(text: string): Promise<string | undefined> {
    // nft -i runs each line as a transaction of its own and says nothing when that succeeds. It answers a line that
    // is none with an error that repeats it: what it said before that is about ours.
    const late = barrier(this.#transactions);
    const ours = barrier(++this.#transactions);
    const { stderr } = await this.#session.exchange(
      `${singleLine(text)}${ours.trimEnd()}`,
      (reply) => reply.stderr.includes(ours),
      TRANSACTION_TIMEOUT_MS,
    );
    if (!stderr.includes(ours)) return "the nft process that is to hold our table does not answer";
    // It may answer one that was not waited for any longer.
    const errors = stderr.split(ours)[0]!.split(late).at(-1)!.split("\n").filter((line) =>
      line.includes("Error:")
    );
    // The last one is about the line that is none.
    return errors.length > 1 ? errors[0] : undefined;
  }

  /** Ends the child, and with it the table. */
  async close(): Promise<void> {
    await this.#session.close();
  }
}

/** The line that is none, as nft repeats it. */
function barrier(transaction: number): string {
  return `\nend_of_transaction_${transaction}\n`;
}

/** nft text on one line: comments dropped, statements separated by semicolons. */
export function singleLine(text: string): string {
  return text.split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => /[{;]$/.test(line) ? line : `${line};`)
    .join(" ");
}
