//! Rules and routes that an earlier run could not take back.
//!
//! A rule of ours names the veth of its run, and lives on when that is gone: after SIGKILL of every process
//! of the run. It bears our protocol number, and the kernel marks it as detached. The next veth of the same
//! name would fall under it, so the leftovers go before a new veth is made.

use rustix::io::Errno;

use crate::{LinkError, ListedRule, PROTOCOL, Plan, RouteSocket, Rule, route::table};

impl RouteSocket {
    /// Deletes our rules whose link is gone, and our routes in tables that no other rule of ours leads to.
    /// Returns how many rules that were. To be called before [`RouteSocket::create_veth`].
    ///
    /// # Errors
    /// [`LinkError::Refused`]: `EPERM` without `CAP_NET_ADMIN`. What somebody else deleted meanwhile is no
    /// error.
    pub fn remove_stale_rules(&mut self) -> Result<usize, LinkError> {
        let ours = self.rules()?.into_iter().filter(|listed| listed.rule.protocol == PROTOCOL);
        let (stale, live): (Vec<ListedRule>, Vec<ListedRule>) = ours.partition(|listed| listed.is_iif_gone);
        for ListedRule { rule, .. } in &stale {
            if !live.iter().any(|listed| is_same_table(&listed.rule, rule)) {
                self.remove_our_routes(rule)?;
            }
            forgive(self.delete_rule(rule), Errno::NOENT)?;
        }
        Ok(stale.len())
    }

    /// Deletes our rules that lead to a table, and our routes in it, whether their link is gone or on its way.
    /// What somebody else put there stays.
    ///
    /// # Errors
    /// As [`RouteSocket::remove_stale_rules`].
    pub fn remove_table(&mut self, table: u32) -> Result<(), LinkError> {
        let rules = self.rules()?.into_iter().map(|listed| listed.rule);
        for rule in rules.filter(|rule| rule.protocol == PROTOCOL && rule.table == table) {
            self.remove_our_routes(&rule)?;
            forgive(self.delete_rule(&rule), Errno::NOENT)?;
        }
        Ok(())
    }

    fn remove_our_routes(&mut self, rule: &Rule) -> Result<(), LinkError> {
        if matches!(rule.table, table::MAIN | table::LOCAL) {
            return Ok(());
        }
        for route in self.routes_of(rule.family)? {
            if route.table == rule.table && route.protocol == PROTOCOL {
                forgive(self.apply(Plan::new().delete_route(&route)), Errno::SRCH)?;
            }
        }
        Ok(())
    }
}

fn is_same_table(one: &Rule, other: &Rule) -> bool {
    (one.family, one.table) == (other.family, other.table)
}

/// Takes one errno for success: what we wanted to delete is gone.
fn forgive(result: Result<(), LinkError>, errno: Errno) -> Result<(), LinkError> {
    match result {
        Err(error) if error.errno() == Some(errno) => Ok(()),
        other => other,
    }
}
