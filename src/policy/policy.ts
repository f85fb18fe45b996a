/** What an operator demands of hosts before a prompt may leave. One value, read by policy/decide alone. */

export interface Policy {
  /**
   * Whether hosts that never showed an inference key may be asked in the clear, over their own connection and only when
   * no host that opens envelopes has the model. @default true
   */
  readonly plain: boolean;
}
