/**
 * Stands in for Apache's etcd metadata driver where Maven Central does not serve it: the same keys and values, which
 * tests/golden/ has from Apache's own. Only what the scenarios and an Apache bookie need.
 */
package strata.etcd;
