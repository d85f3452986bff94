//! `[gateway]`.

super::section! {
    /// A gateway (HAProxy) in front of Synapse and the web client.
    [gateway] pub struct Gateway {
        /// Whether requests wait in a gateway while Synapse restarts, instead of failing. It takes over
        /// ports.synapse and ports.web, where proxies go on finding both. It believes only the proxies of
        /// edge.proxies about people's addresses: one on the guest's machine has to be named there, too.
        enabled: bool {
            usual: false,
            example: "true",
        }
    }
}
