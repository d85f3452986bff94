//! `[gateway]`.

super::section! {
    /// A gateway (HAProxy) in front of Synapse and the web client.
    [gateway] pub struct Gateway {
        /// Whether requests wait in a gateway while Synapse restarts, instead of failing. It takes over
        /// ports.synapse and ports.web, where proxies go on finding both. About people's addresses it
        /// believes the proxies of edge.proxies; where that names none, the guest's machine. With one elsewhere
        /// and one on the machine, name both.
        enabled: bool {
            usual: false,
            example: "true",
        }
    }
}
